// A block of CUDA threads. portability.cuh includes it.
#pragma once

namespace nvrar {

constexpr int kVectorBytes = 16;      // the widest load of one thread
constexpr int kVectorAlignment = 16;  // which such a load demands
#if !defined(NVRAR_IN_FLIGHT)
#define NVRAR_IN_FLIGHT 4
#endif
constexpr int kInFlight = NVRAR_IN_FLIGHT;  // loads that a thread issues before it waits for the first
constexpr bool kWaitsForBatches = true;
constexpr int kSideBySide = 32;  // threads that access memory by one instruction

NVRAR_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
NVRAR_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
NVRAR_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
NVRAR_DEVICE void block_sync() { __syncthreads(); }
NVRAR_DEVICE bool block_all(bool mine) { return __syncthreads_and(mine) != 0; }
NVRAR_DEVICE void relax() {}  // a poll takes longer than any pause would save
NVRAR_DEVICE void order_calls() {}  // launches of one stream are ordered
NVRAR_DEVICE void yield() { __nanosleep(200); }
NVRAR_DEVICE void doze(cuda::std::uint64_t) { yield(); }

// Two cells of 8 bytes, each whole for itself: one instruction, but two accesses of 64 bits in PTX's
// memory model.
NVRAR_DEVICE void load_cells(const cuda::std::uint64_t* cells, cuda::std::uint64_t* seen) {
    asm volatile("ld.relaxed.sys.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(seen[0]), "=l"(seen[1])
                 : "l"(__cvta_generic_to_global(cells)));
}
NVRAR_DEVICE void store_cells(cuda::std::uint64_t* cells, const cuda::std::uint64_t* packets) {
    asm volatile("st.relaxed.sys.global.v2.u64 [%0], {%1, %2};" ::"l"(__cvta_generic_to_global(cells)),
                 "l"(packets[0]), "l"(packets[1])
                 : "memory");
}

// All that ranks share lies in global memory. Told so, the compiler does not ask each address. The
// assumption takes fewer registers; NVRTC 13.0 breaks off at it where T is a class.
template <typename T>
NVRAR_DEVICE T* global(T* address) {
    if constexpr (cuda::std::is_class_v<T>)
        return static_cast<T*>(const_cast<void*>(
            static_cast<const void*>(__cvta_global_to_generic(__cvta_generic_to_global(address)))));
    __builtin_assume(__isGlobal(address));
    return address;
}

// What was before this call is seen by whoever one of the first `tellers` threads tells so, by a relaxed
// store. A fence of system scope takes as long as two loads, even where there is nothing to wait for.
NVRAR_DEVICE void publish_earlier_calls(cuda::std::uint32_t tellers) {
    if (threadIdx.x < tellers)
        cuda::atomic_thread_fence(cuda::memory_order_acq_rel, cuda::thread_scope_system);
}

// Copies a table to shared memory. A wait that acquires empties the cache, so each look at a table in global
// memory would go past it. By the whole block, before a block_sync(). A longer table stays where it is.
constexpr bool kKeepsNear = true;
constexpr cuda::std::uint32_t kNearEntries = 128;
template <int Table>
NVRAR_DEVICE void* const* keep_near(void* const* table, cuda::std::uint32_t entries) {
    __shared__ void* held[kNearEntries];
    if (entries > kNearEntries) return table;
    // The first warp may be at a fence.
    const bool is_first = threadIdx.x < kSideBySide;
    cuda::std::uint32_t i = threadIdx.x - kSideBySide + (is_first ? blockDim.x : 0);
    for (; i < entries; i += blockDim.x) held[i] = global(table)[i];
    return held;
}

NVRAR_DEVICE cuda::std::uint64_t now_ns() {
    cuda::std::uint64_t value;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value));
    return value;
}

// Who checks accesses to plain memory is told of them: nobody here.
NVRAR_DEVICE void note_span() {}
NVRAR_DEVICE void note_read(const void*, cuda::std::uint64_t) {}
NVRAR_DEVICE void note_write(const void*, cuda::std::uint64_t) {}

}  // namespace nvrar
