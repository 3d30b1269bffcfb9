// The fabric of CPU ranks: every rank's memory is mapped here, so a put is a copy and a signal a store.
#pragma once

#include "../arguments.cuh"

namespace nvrar {

using Flag = cuda::atomic_ref<u64, cuda::thread_scope_system>;

struct Fabric {
    const Arguments& arguments;

    NVRAR_DEVICE u8* staging(u64 rank) const {
        return static_cast<u8*>(arguments.rank_staging[rank]);
    }

    // Both of one rank of this node, or of any rank: on this fabric all are mapped.
    NVRAR_DEVICE void signal(u64 rank, u64 flag_offset, u64 value) const {
        Flag(*reinterpret_cast<u64*>(staging(rank) + flag_offset))
            .store(value, cuda::memory_order_release);
    }

    NVRAR_DEVICE void put_signal(u64 rank, u64 offset, const void* source, u64 bytes,
                                 u64 flag_offset, u64 value) const {
        memcpy(staging(rank) + offset, source, bytes);
        signal(rank, flag_offset, value);
    }

    // Packets carry their own flags, so they go straight to where they are awaited.
    NVRAR_DEVICE u64* packet_outbox(u64 rank, u64 offset, u64) const {
        return reinterpret_cast<u64*>(staging(rank) + offset);
    }
    NVRAR_DEVICE void put_packets(u64, u64, u64, u64) const {}
};

}  // namespace nvrar

#define NVRAR_ENTRY(T, OP, PROTOCOL)                                        \
    NVRAR_KERNEL nvrar_all_reduce(const nvrar::Arguments* arguments) {      \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(*arguments);       \
    }
