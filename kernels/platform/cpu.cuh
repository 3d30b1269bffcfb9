// A block of one CPU thread: a loop from thread_index() in steps of thread_count() is a plain loop that
// the compiler vectorises, and block_sync() is nothing. A fabric that defines NVRAR_EMULATED gets blocks
// of several CPU threads instead: slow, but every line of a launch runs. portability.cuh includes it.
#pragma once

#include <sched.h>
#include <time.h>

#include <atomic>

namespace nvrar {

constexpr int kVectorBytes = 256;  // a few of the widest CPU registers, so that loop overhead is small
constexpr int kVectorAlignment = 1;
constexpr bool kWaitsForBatches = true;

#if defined(NVRAR_EMULATED)

constexpr int kInFlight = 4;  // as on GPUs, whose loops are tried here
constexpr int kSideBySide = 32;

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
constexpr int kSideBySide = 1;  // threads that access memory by one instruction

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
NVRAR_DEVICE void doze(cuda::std::uint64_t ns) {
    const timespec time{0, static_cast<long>(ns < 10'000'000 ? ns : 10'000'000)};
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

template <typename T>
NVRAR_DEVICE T* global(T* address) {
    return address;
}

NVRAR_DEVICE void publish_earlier_calls(cuda::std::uint32_t) {}  // order_calls() did
constexpr bool kKeepsNear = false;
template <int>
NVRAR_DEVICE void* const* keep_near(void* const* table, cuda::std::uint32_t) {
    return table;
}

NVRAR_DEVICE cuda::std::uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<cuda::std::uint64_t>(time.tv_sec) * 1000000000u +
           static_cast<cuda::std::uint64_t>(time.tv_nsec);
}

// Who checks accesses to plain memory is told of them: nobody here.
NVRAR_DEVICE void note_span() {}
NVRAR_DEVICE void note_read(const void*, cuda::std::uint64_t) {}
NVRAR_DEVICE void note_write(const void*, cuda::std::uint64_t) {}

}  // namespace nvrar
