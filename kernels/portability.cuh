// The one header that knows which compiler reads kernels/, and what runs them: a block of CUDA threads, a
// CPU thread, or what NVRAR_PLATFORM names, a header with the same functions (tests/exploration/checker).
#pragma once

#include <cuda/atomic>
#include <cuda/std/cstdint>
#include <cuda/std/type_traits>

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define NVRAR_DEVICE __device__ __forceinline__
#define NVRAR_NOINLINE __device__ __noinline__
#define NVRAR_KERNEL extern "C" __global__ void
#define NVRAR_UNROLL _Pragma("unroll")
#define NVRAR_ROLLED _Pragma("unroll 1")  // compilers for GPUs unroll what runs once
#define NVRAR_RESTRICT __restrict__

#include "platform/gpu.cuh"

#else

#include <string.h>

#define NVRAR_DEVICE inline
#define NVRAR_NOINLINE inline __attribute__((noinline))
#define NVRAR_KERNEL extern "C" void
#define NVRAR_UNROLL
#define NVRAR_ROLLED
#define NVRAR_RESTRICT __restrict

#if defined(NVRAR_PLATFORM)
#include NVRAR_PLATFORM
#else
#include "platform/cpu.cuh"
#endif

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

template <typename A>
NVRAR_DEVICE A smaller(A a, A b) {
    return a < b ? a : b;
}
// `sum` modulo `size`, where it is less than twice that: GPUs divide slowly.
NVRAR_DEVICE u32 around(u32 sum, u32 size) { return sum < size ? sum : sum - size; }

// Calls body(i) for those i < count that are this thread's, in a launch of `blocks` blocks.
template <typename Body>
NVRAR_DEVICE void for_own_elements(u64 count, u64 blocks, Body body) {
    const u64 threads = static_cast<u64>(thread_count());
    for (u64 i = block_index() * threads + thread_index(); i < count; i += blocks * threads) body(i);
}

}  // namespace nvrar
