// Threads of the kernel as fibers: all that others can see is told to a scheduler. portability.cuh includes
// it in place of kernels/platform/.
#pragma once

#include "engine.cuh"

namespace nvrar {

constexpr int kVectorBytes = 16;
constexpr int kVectorAlignment = 1;
constexpr int kInFlight = 2;  // the loops that GPUs run
constexpr int kSideBySide = 2;  // as on GPUs, a unit is in two places
constexpr bool kWaitsForBatches = false;  // the explorers know what one word a thread waits for

NVRAR_DEVICE int thread_index() { return checking::current().thread; }
NVRAR_DEVICE int thread_count() { return checking::current().threads; }
NVRAR_DEVICE int block_index() { return checking::current().block; }
NVRAR_DEVICE bool block_all(bool mine) { return checking::meet_block(mine); }
NVRAR_DEVICE void block_sync() { checking::meet_block(true); }
NVRAR_DEVICE void order_calls() { checking::fence(); }
NVRAR_DEVICE void relax() { checking::poll_again(); }
NVRAR_DEVICE void yield() { checking::poll_again(); }
NVRAR_DEVICE void doze(cuda::std::uint64_t) { yield(); }
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

}  // namespace nvrar
