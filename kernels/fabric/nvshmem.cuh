// The fabric of GPUs: one rank on each GPU. Ranks whose memory NVSHMEM maps (NVLink, PCIe) are reached
// by loads and stores, all others through the network by block-wide NVSHMEM puts. PE numbers are ranks.
#pragma once

#include "mapped.cuh"
#include "nvshmem_declarations.cuh"

namespace nvrar {

struct Fabric : MappedFabric {
    // The network reads a source after the put has returned, and reads registered memory alone.
    static constexpr bool kPutsFromStaging = true;

    NVRAR_DEVICE bool is_mapped(u32 rank) const { return table()[rank] != nullptr; }

    NVRAR_DEVICE void put_signal(u32 rank, u64 offset, const void* source, u32 bytes,
                                 u64 flag_offset, u64 value) const {
        if (is_mapped(rank)) {
            copy_and_signal(rank, offset, source, bytes, flag_offset, value);
            return;
        }
        nvrar_put_signal(here(offset), source, bytes, flag(flag_offset), value,
                         static_cast<int>(rank));
    }

    NVRAR_DEVICE void put(u32 rank, u64 offset, const void* source, u32 bytes) const {
        nvrar_put(here(offset), source, bytes, static_cast<int>(rank));
    }

    // By one thread that has seen the flag: on some machines the data of a put from the network is
    // not yet visible then, and NVSHMEM's own wait knows which.
    NVRAR_DEVICE void settle(u32 from, u64 flag_offset, u64 value) const {
        if (!is_mapped(from)) nvrar_settle(flag(flag_offset), value);
    }

   private:
    // NVSHMEM names a peer's memory by the address of the same place in one's own.
    NVRAR_DEVICE u8* here(u64 offset) const { return own_staging() + offset; }
    NVRAR_DEVICE unsigned long* flag(u64 offset) const {
        return reinterpret_cast<unsigned long*>(here(offset));
    }
};

}  // namespace nvrar

#define NVRAR_ENTRY(T, OP, PROTOCOL)                                                               \
    NVRAR_KERNEL __launch_bounds__(NVRAR_LAUNCH_CLASS, 1) nvrar_all_reduce(                        \
        const __grid_constant__ nvrar::Arguments arguments) {                                      \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(arguments);                               \
    }
