// The one header that knows which compiler reads kernels/: a block of CUDA threads, or one CPU thread.
//
// On the CPU a block has one thread, so that a loop from thread_index() in steps of thread_count() is
// a plain loop that the compiler vectorises, and block_sync() is nothing.
#pragma once

#include <cuda/atomic>
#include <cuda/std/cstdint>

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define NVRAR_DEVICE __device__ __forceinline__
#define NVRAR_KERNEL extern "C" __global__ void
#define NVRAR_UNROLL _Pragma("unroll")
#define NVRAR_RESTRICT __restrict__

namespace nvrar {

constexpr int kVectorBytes = 16;  // the widest load of one thread

NVRAR_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
NVRAR_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
NVRAR_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
NVRAR_DEVICE int block_count() { return static_cast<int>(gridDim.x); }
NVRAR_DEVICE void block_sync() { __syncthreads(); }
NVRAR_DEVICE bool block_all(bool mine) { return __syncthreads_and(mine) != 0; }
NVRAR_DEVICE void relax() { __nanosleep(20); }
NVRAR_DEVICE void yield() { __nanosleep(200); }

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

#define NVRAR_DEVICE inline
#define NVRAR_KERNEL extern "C" void
#define NVRAR_UNROLL
#define NVRAR_RESTRICT __restrict

namespace nvrar {

constexpr int kVectorBytes = 256;  // a few of the widest CPU registers, so that loop overhead is small

NVRAR_DEVICE int thread_index() { return 0; }
NVRAR_DEVICE int thread_count() { return 1; }
NVRAR_DEVICE int block_index() { return 0; }
NVRAR_DEVICE int block_count() { return 1; }
NVRAR_DEVICE void block_sync() {}
NVRAR_DEVICE bool block_all(bool mine) { return mine; }

NVRAR_DEVICE void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

NVRAR_DEVICE void yield() { sched_yield(); }

NVRAR_DEVICE cuda::std::uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<cuda::std::uint64_t>(time.tv_sec) * 1000000000u +
           static_cast<cuda::std::uint64_t>(time.tv_nsec);
}

}  // namespace nvrar

#endif

namespace nvrar {

using u8 = cuda::std::uint8_t;
using u32 = cuda::std::uint32_t;
using u64 = cuda::std::uint64_t;

template <typename To, typename From>
NVRAR_DEVICE To same_bytes(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof(To));
    return to;
}

NVRAR_DEVICE u64 smaller(u64 a, u64 b) { return a < b ? a : b; }
NVRAR_DEVICE u64 round_up(u64 value, u64 unit) { return (value + unit - 1) / unit * unit; }

}  // namespace nvrar
