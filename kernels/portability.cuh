// The one header that knows which compiler reads kernels/: a block of CUDA threads, or one CPU thread.
//
// On the CPU a block has one thread, so that a loop from thread_index() in steps of thread_count() is
// a plain loop that the compiler vectorises, and block_sync() is nothing. A fabric that defines
// NVRAR_EMULATED gets blocks of several CPU threads instead: slow, but every line of a launch runs.
// One that defines NVRAR_CHECKED gets fibers, and all that others can see is told to a scheduler.
#pragma once

#include <cuda/atomic>
#include <cuda/std/cstdint>

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define NVRAR_DEVICE __device__ __forceinline__
#define NVRAR_NOINLINE __device__ __noinline__
#define NVRAR_KERNEL extern "C" __global__ void
#define NVRAR_UNROLL _Pragma("unroll")
#define NVRAR_ROLLED _Pragma("unroll 1")  // compilers for GPUs unroll what runs once
#define NVRAR_RESTRICT __restrict__

namespace nvrar {

constexpr int kVectorBytes = 16;      // the widest load of one thread
constexpr int kVectorAlignment = 16;  // which such a load demands
constexpr int kInFlight = 4;          // loads that a thread issues before it waits for the first
constexpr bool kWaitsForBatches = true;

NVRAR_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
NVRAR_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
NVRAR_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
NVRAR_DEVICE void block_sync() { __syncthreads(); }
NVRAR_DEVICE bool block_all(bool mine) { return __syncthreads_and(mine) != 0; }
NVRAR_DEVICE void relax() {}  // a poll takes longer than any pause would save
NVRAR_DEVICE void order_calls() {}  // launches of one stream are ordered
NVRAR_DEVICE void yield() { __nanosleep(200); }
NVRAR_DEVICE void doze() { yield(); }

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

NVRAR_DEVICE cuda::std::uint64_t now_ns() {
    cuda::std::uint64_t value;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(value));
    return value;
}

}  // namespace nvrar

#else

#include <sched.h>
#include <string.h>
#include <time.h>

#include <atomic>

#define NVRAR_DEVICE inline
#define NVRAR_NOINLINE inline __attribute__((noinline))
#define NVRAR_KERNEL extern "C" void
#define NVRAR_UNROLL
#define NVRAR_ROLLED
#define NVRAR_RESTRICT __restrict

#if defined(NVRAR_CHECKED)
#include "fabric/checking_engine.cuh"
#endif

namespace nvrar {

#if defined(NVRAR_CHECKED)

constexpr int kVectorBytes = 16;
constexpr int kVectorAlignment = 1;
constexpr int kInFlight = 2;  // the loops that GPUs run
constexpr bool kWaitsForBatches = false;  // the explorers know what one word a thread waits for

NVRAR_DEVICE int thread_index() { return checking::current().thread; }
NVRAR_DEVICE int thread_count() { return checking::current().threads; }
NVRAR_DEVICE int block_index() { return checking::current().block; }
NVRAR_DEVICE bool block_all(bool mine) { return checking::meet_block(mine); }
NVRAR_DEVICE void block_sync() { checking::meet_block(true); }
NVRAR_DEVICE void order_calls() { checking::fence(); }
NVRAR_DEVICE void relax() { checking::poll_again(); }
NVRAR_DEVICE void yield() { checking::poll_again(); }
NVRAR_DEVICE void doze() { yield(); }
NVRAR_DEVICE cuda::std::uint64_t now_ns() { return checking::clock_ns(); }
NVRAR_DEVICE void load_cells(const cuda::std::uint64_t* cells, cuda::std::uint64_t* seen) {
    checking::load_cells(cells, seen);
}
NVRAR_DEVICE void store_cells(cuda::std::uint64_t* cells, const cuda::std::uint64_t* packets) {
    checking::store_cells(cells, packets);
}

// What a span of plain memory tells: it starts, and each access before it is made.
NVRAR_DEVICE void note_span() { checking::point(); }
NVRAR_DEVICE void note_read(const void* from, cuda::std::uint64_t bytes) {
    checking::note_read(from, bytes);
}
NVRAR_DEVICE void note_write(void* to, cuda::std::uint64_t bytes) { checking::note_write(to, bytes); }

#else

constexpr int kVectorBytes = 256;  // a few of the widest CPU registers, so that loop overhead is small
constexpr int kVectorAlignment = 1;
constexpr bool kWaitsForBatches = true;

#if defined(NVRAR_EMULATED)

constexpr int kInFlight = 4;  // as on GPUs, whose loops are tried here

// One block of a launch whose threads are CPU threads.
struct EmulatedBlock {
    int row;
    int index;
    int threads;
    std::atomic<int> waiting{0};
    std::atomic<int> generation{0};
    std::atomic<bool> refused{false};
    std::atomic<bool> verdict{true};
};
struct EmulatedThread {
    EmulatedBlock* block;
    int index;
};
inline thread_local EmulatedThread emulated{};

NVRAR_DEVICE int thread_index() { return emulated.index; }
NVRAR_DEVICE int thread_count() { return emulated.block->threads; }
NVRAR_DEVICE int block_index() { return emulated.block->index; }

NVRAR_DEVICE bool block_all(bool mine) {
    EmulatedBlock& block = *emulated.block;
    const int generation = block.generation.load();
    if (!mine) block.refused.store(true);
    if (block.waiting.fetch_add(1) + 1 == block.threads) {
        block.verdict.store(!block.refused.exchange(false));
        block.waiting.store(0);
        block.generation.store(generation + 1);
    } else {
        while (block.generation.load() == generation) sched_yield();
    }
    return block.verdict.load();
}

NVRAR_DEVICE void block_sync() { block_all(true); }

#else

constexpr int kInFlight = 1;  // the CPU looks ahead by itself

NVRAR_DEVICE int thread_index() { return 0; }
NVRAR_DEVICE int thread_count() { return 1; }
NVRAR_DEVICE int block_index() { return 0; }
NVRAR_DEVICE void block_sync() {}
NVRAR_DEVICE bool block_all(bool mine) { return mine; }

#endif

NVRAR_DEVICE void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

NVRAR_DEVICE void yield() { sched_yield(); }
NVRAR_DEVICE void doze() {
    const timespec time{0, 100'000};
    nanosleep(&time, nullptr);
}
NVRAR_DEVICE void order_calls() {
    cuda::atomic_thread_fence(cuda::memory_order_acq_rel, cuda::thread_scope_system);
}

NVRAR_DEVICE void load_cells(const cuda::std::uint64_t* cells, cuda::std::uint64_t* seen) {
    using Cell = cuda::atomic_ref<cuda::std::uint64_t, cuda::thread_scope_system>;
    for (int c = 0; c < 2; ++c)
        seen[c] = Cell(const_cast<cuda::std::uint64_t&>(cells[c])).load(cuda::memory_order_relaxed);
}
NVRAR_DEVICE void store_cells(cuda::std::uint64_t* cells, const cuda::std::uint64_t* packets) {
    using Cell = cuda::atomic_ref<cuda::std::uint64_t, cuda::thread_scope_system>;
    for (int c = 0; c < 2; ++c) Cell(cells[c]).store(packets[c], cuda::memory_order_relaxed);
}

NVRAR_DEVICE cuda::std::uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<cuda::std::uint64_t>(time.tv_sec) * 1000000000u +
           static_cast<cuda::std::uint64_t>(time.tv_nsec);
}

#endif

}  // namespace nvrar

#endif

namespace nvrar {

using u8 = cuda::std::uint8_t;
using u32 = cuda::std::uint32_t;
using u64 = cuda::std::uint64_t;

#if !defined(NVRAR_CHECKED)
NVRAR_DEVICE void note_span() {}
NVRAR_DEVICE void note_read(const void*, u64) {}
NVRAR_DEVICE void note_write(void*, u64) {}
#endif

template <typename To, typename From>
NVRAR_DEVICE To same_bytes(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

NVRAR_DEVICE u64 smaller(u64 a, u64 b) { return a < b ? a : b; }
// `sum` modulo `size`, where it is less than twice that: GPUs divide slowly.
NVRAR_DEVICE u64 around(u64 sum, u64 size) { return sum < size ? sum : sum - size; }

}  // namespace nvrar
