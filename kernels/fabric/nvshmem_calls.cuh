// What kernels call of NVSHMEM. Its headers take longer to read than all of kernels/, so this is a
// translation unit of its own: the toolchain compiles it once for an architecture, and links it to every
// kernel of this fabric. Kernels see nvshmem_declarations.cuh alone.
#pragma once

#include "nvshmem_declarations.cuh"

// libnvshmem_device.a was built by nvcc, whose uint64_t is unsigned long. NVRTC's is unsigned long long,
// which the linker takes for another function. What else defines uint64_t must have been read before.
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

// NVSHMEM 3.4 names these as a host compiler has them; NVRTC has no <type_traits> of its own.
namespace std {
using cuda::std::is_integral;
using cuda::std::is_signed;
using cuda::std::is_unsigned;
}  // namespace std

#define uint64_t unsigned long
#include <nvshmem.h>
#include <nvshmemx.h>
#undef uint64_t

extern "C" __device__ void nvrar_put(void* target, const void* source, unsigned long bytes, int pe) {
    nvshmemx_putmem_nbi_block(target, source, bytes, pe);
}

extern "C" __device__ void nvrar_put_signal(void* target, const void* source, unsigned long bytes,
                                            unsigned long* flag, unsigned long value, int pe) {
    if (bytes)
        nvshmemx_putmem_signal_nbi_block(target, source, bytes, flag, value, NVSHMEM_SIGNAL_SET, pe);
    else if (threadIdx.x == 0)
        nvshmemx_signal_op(flag, value, NVSHMEM_SIGNAL_SET, pe);
}

extern "C" __device__ void nvrar_settle(unsigned long* flag, unsigned long value) {
    nvshmem_signal_wait_until(flag, NVSHMEM_CMP_EQ, value);
}
