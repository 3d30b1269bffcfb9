// The operations: combine two accumulators, and finish the last one.
#pragma once

#include "datatypes.cuh"

namespace nvrar {

// Integer sums and products wrap modulo 2^bits, as NCCL's and every MPI's do; unsigned arithmetic
// makes that defined for signed types too.
template <typename A>
struct Wrapping {
    using type = A;
};
template <>
struct Wrapping<cuda::std::int8_t> {
    using type = cuda::std::uint8_t;
};
template <>
struct Wrapping<cuda::std::int32_t> {
    using type = cuda::std::uint32_t;
};
template <>
struct Wrapping<cuda::std::int64_t> {
    using type = cuda::std::uint64_t;
};

struct Sum {
    template <typename A>
    static NVRAR_DEVICE A combine(A a, A b) {
        using W = typename Wrapping<A>::type;
        return static_cast<A>(static_cast<W>(a) + static_cast<W>(b));
    }
    template <typename A>
    static NVRAR_DEVICE A finish(A total, u64) {
        return total;
    }
};

struct Prod : Sum {
    template <typename A>
    static NVRAR_DEVICE A combine(A a, A b) {
        using W = typename Wrapping<A>::type;
        return static_cast<A>(static_cast<W>(a) * static_cast<W>(b));
    }
};

struct Min : Sum {
    template <typename A>
    static NVRAR_DEVICE A combine(A a, A b) {
        return b < a ? b : a;
    }
};

struct Max : Sum {
    template <typename A>
    static NVRAR_DEVICE A combine(A a, A b) {
        return a < b ? b : a;
    }
};

// What a sum is divided in: floats as they are, integers where every number of ranks fits.
template <typename A>
struct Dividing {
    using type = cuda::std::int64_t;
};
template <>
struct Dividing<cuda::std::uint64_t> {
    using type = cuda::std::uint64_t;
};
template <>
struct Dividing<float> {
    using type = float;
};
template <>
struct Dividing<double> {
    using type = double;
};

// The sum, divided once at the very end; integers truncate toward zero.
struct Avg : Sum {
    template <typename A>
    static NVRAR_DEVICE A finish(A total, u64 ranks) {
        using D = typename Dividing<A>::type;
        return static_cast<A>(static_cast<D>(total) / static_cast<D>(ranks));
    }
};

}  // namespace nvrar
