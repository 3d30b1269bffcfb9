// What fabrics share where a rank's memory is mapped here: a put is a copy and a signal a store.
#pragma once

#include "../vector.cuh"
#include "../wait.cuh"

namespace nvrar {

using Flag = cuda::atomic_ref<u64, cuda::thread_scope_system>;

struct MappedFabric {
    const Arguments& arguments;
    void* const* near_staging = nullptr;  // the table of all ranks, if it is kept near

    // Whether a put is a message that its receiver has to expect: fabric/hosts.cuh says more.
    static constexpr bool kSendsMessages = false;
    NVRAR_DEVICE u32 chunks_ahead() const { return ~u32{0}; }
    NVRAR_DEVICE void expect(u32, u64, u32, u64) const {}
    NVRAR_DEVICE bool await_message(const Place&, u64, u64) const { return true; }
    NVRAR_DEVICE bool await_puts(u64, u64, const Place&, u64) const { return true; }
    NVRAR_DEVICE bool await_all_puts(const Place&, u64) const { return true; }

    NVRAR_DEVICE u8* staging(u32 rank) const {
        return static_cast<u8*>(table()[rank]);
    }
    NVRAR_DEVICE void* const* table() const {
        return near_staging ? near_staging : global(arguments.rank_staging);
    }
    NVRAR_DEVICE u8* own_staging() const { return static_cast<u8*>(arguments.staging); }

    // By one thread. What this block has written before its last block_sync() is seen with the flag, or
    // if `is_published` what was published before this call.
    NVRAR_DEVICE void signal(u32 rank, u64 flag_offset, u64 value, bool is_published = false) const {
        const Flag flag(*global(reinterpret_cast<u64*>(staging(rank) + flag_offset)));
        if (is_published)
            flag.store(value, cuda::memory_order_relaxed);
        else
            flag.store(value, cuda::memory_order_release);
    }

    // By the whole block: bytes, then a signal that is seen no sooner than they are. The source may be
    // written again at once.
    NVRAR_DEVICE void copy_and_signal(u32 rank, u64 offset, const void* source, u32 bytes,
                                      u64 flag_offset, u64 value) const {
        copy(staging(rank) + offset, source, bytes);
        block_sync();
        if (thread_index() == 0) signal(rank, flag_offset, value);
    }
};

// All ranks are mapped.
struct LocalFabric : MappedFabric {
    static constexpr bool kPutsFromStaging = false;

    NVRAR_DEVICE bool is_mapped(u32) const { return true; }

    NVRAR_DEVICE void put_signal(u32 rank, u64 offset, const void* source, u32 bytes,
                                 u64 flag_offset, u64 value) const {
        copy_and_signal(rank, offset, source, bytes, flag_offset, value);
    }
    NVRAR_DEVICE void put(u32 rank, u64 offset, const void* source, u32 bytes) const {
        copy(staging(rank) + offset, source, bytes);
    }
    NVRAR_DEVICE void settle(u32, u64, u64) const {}
};

}  // namespace nvrar
