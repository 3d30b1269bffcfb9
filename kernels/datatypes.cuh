// The element types, and the wider type that each one is accumulated in.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "portability.cuh"

namespace nvrar {

// 16-bit and 8-bit floats accumulate in fp32 and are rounded once, when a sum is stored.
template <typename T>
struct Accumulated {
    static constexpr bool is_wider = false;
    using type = T;
};
struct InFloat {
    static constexpr bool is_wider = true;
    using type = float;
};
template <>
struct Accumulated<__half> : InFloat {};
template <>
struct Accumulated<__nv_bfloat16> : InFloat {};
template <>
struct Accumulated<__nv_fp8_e4m3> : InFloat {};
template <>
struct Accumulated<__nv_fp8_e5m2> : InFloat {};

template <typename T>
using Accumulator = typename Accumulated<T>::type;

template <typename T>
NVRAR_DEVICE Accumulator<T> widen(T value) {
    return static_cast<Accumulator<T>>(value);
}

template <typename T>
NVRAR_DEVICE T narrow(Accumulator<T> value) {
    return static_cast<T>(value);
}

NVRAR_DEVICE double absolute(double value) { return value < 0 ? -value : value; }

}  // namespace nvrar
