// The fabric of virtual ranks: one launch in one process holds all of them, each with blocks of its own.
// All must run at once, for they wait for each other. On the CPU every thread of the launch is a thread.
#pragma once

#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
#define NVRAR_EMULATED
#include <thread>
#include <vector>
#endif

#include "mapped.cuh"

namespace nvrar {

using Fabric = LocalFabric;

constexpr int kMaxVirtualRanks = 16;

struct VirtualRanks {
    Arguments rank[kMaxVirtualRanks];
};

#if defined(NVRAR_EMULATED)

NVRAR_DEVICE int row_index() { return emulated.block->row; }

// Calls `kernel` as a launch of `rows` rows of `blocks` blocks of `threads` threads would, and returns
// when all ended.
template <typename Kernel>
void emulate_launch(int rows, int blocks, int threads, Kernel kernel) {
    std::vector<EmulatedBlock> all(rows * blocks);
    std::vector<std::thread> running;
    for (int b = 0; b < rows * blocks; ++b) {
        all[b].row = b / blocks;
        all[b].index = b % blocks;
        all[b].threads = threads;
        for (int t = 0; t < threads; ++t)
            running.emplace_back([&kernel, block = &all[b], t] {
                emulated = {block, t};
                kernel();
            });
    }
    for (std::thread& thread : running) thread.join();
}

#else

NVRAR_DEVICE int row_index() { return static_cast<int>(blockIdx.y); }

#endif

NVRAR_DEVICE const Arguments& own_rank(const VirtualRanks& all) { return all.rank[row_index()]; }

}  // namespace nvrar

// The grid has a row of blocks for each virtual rank.
#if defined(NVRAR_EMULATED)
#define NVRAR_ENTRY(T, OP, PROTOCOL)                                                               \
    extern "C" void nvrar_launch(const nvrar::VirtualRanks* all, int rows, int blocks,             \
                                 int threads) {                                                    \
        nvrar::emulate_launch(rows, blocks, threads, [&] {                                         \
            nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(nvrar::own_rank(*all));               \
        });                                                                                        \
    }
#else
#define NVRAR_ENTRY(T, OP, PROTOCOL)                                                               \
    NVRAR_KERNEL __launch_bounds__(NVRAR_LAUNCH_CLASS, 1) nvrar_all_reduce(                        \
        const __grid_constant__ nvrar::VirtualRanks all) {                                         \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(nvrar::own_rank(all));                    \
    }
#endif
