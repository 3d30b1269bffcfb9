// The fabric of GPUs: one rank on each GPU. Ranks whose memory NVSHMEM maps (NVLink, PCIe) are reached
// by loads and stores, all others through the network by block-wide NVSHMEM puts. PE numbers are ranks.
#pragma once

#include "mapped.cuh"

#if defined(__CUDACC_RTC__)
// libnvshmem_device.a was built by nvcc, whose uint64_t is unsigned long. NVRTC's is unsigned long
// long, which makes another function for the linker. What defines or uses the type is read before.
#include <cooperative_groups.h>
#include <cuda_awbarrier_primitives.h>
#include <cuda_fp16.h>

#include <cuda/std/array>
#include <cuda/std/cassert>
#include <cuda/std/cstdlib>
#include <cuda/std/limits>
#include <cuda/std/tuple>
#include <cuda/std/type_traits>
#include <cuda/std/utility>
#define uint64_t unsigned long
#endif
#include <nvshmem.h>
#include <nvshmemx.h>
#undef uint64_t

namespace nvrar {

struct Fabric : MappedFabric {
    // The network reads a source after the put has returned, and reads registered memory alone.
    static constexpr bool kPutsFromStaging = true;

    NVRAR_DEVICE bool is_mapped(u64 rank) const { return arguments.rank_staging[rank] != nullptr; }

    NVRAR_DEVICE void put_signal(u64 rank, u64 offset, const void* source, u64 bytes,
                                 u64 flag_offset, u64 value) const {
        if (is_mapped(rank)) {
            copy_and_signal(rank, offset, source, bytes, flag_offset, value);
            return;
        }
        const int pe = static_cast<int>(rank);
        if (bytes)
            nvshmemx_putmem_signal_nbi_block(here(offset), source, bytes, flag(flag_offset), value,
                                             NVSHMEM_SIGNAL_SET, pe);
        else if (thread_index() == 0)
            nvshmemx_signal_op(flag(flag_offset), value, NVSHMEM_SIGNAL_SET, pe);
    }

    NVRAR_DEVICE void put(u64 rank, u64 offset, const void* source, u64 bytes) const {
        nvshmemx_putmem_nbi_block(here(offset), source, bytes, static_cast<int>(rank));
    }

    // By one thread that has seen the flag: on some machines the data of a put from the network is
    // not yet visible then, and NVSHMEM's own wait knows which.
    NVRAR_DEVICE void settle(u64 from, u64 flag_offset, u64 value) const {
        if (!is_mapped(from)) nvshmem_signal_wait_until(flag(flag_offset), NVSHMEM_CMP_EQ, value);
    }

   private:
    // NVSHMEM names a peer's memory by the address of the same place in one's own.
    NVRAR_DEVICE u8* here(u64 offset) const { return staging(arguments.rank) + offset; }
    NVRAR_DEVICE unsigned long* flag(u64 offset) const {
        return reinterpret_cast<unsigned long*>(here(offset));
    }
};

}  // namespace nvrar

#define NVRAR_ENTRY(T, OP, PROTOCOL)                                                               \
    NVRAR_KERNEL __launch_bounds__(256, 1) nvrar_all_reduce(                                          \
        const __grid_constant__ nvrar::Arguments arguments) {                                      \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(arguments);                               \
    }
