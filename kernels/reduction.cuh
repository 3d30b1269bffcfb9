// The operations: combine two accumulators, and finish the last one.
#pragma once

#include "datatypes.cuh"

namespace nvrar {

// A where it is a float, else the integer I.
template <typename A, typename I>
using IfInteger = cuda::std::conditional_t<cuda::std::is_integral_v<A>, I, A>;

// Integer sums and products wrap modulo 2^bits, as NCCL's and every MPI's do; unsigned arithmetic of at
// least 32 bits makes that defined for all of them.
template <typename A>
using Wrapping = IfInteger<A, cuda::std::conditional_t<(sizeof(A) > 4), u64, u32>>;

struct Sum {
    template <typename A>
    static NVRAR_DEVICE A combine(A a, A b) {
        using W = Wrapping<A>;
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
        using W = Wrapping<A>;
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
using Dividing =
    IfInteger<A, cuda::std::conditional_t<cuda::std::is_same_v<A, u64>, u64, cuda::std::int64_t>>;

// The sum, divided once at the very end; integers truncate toward zero.
struct Avg : Sum {
    template <typename A>
    static NVRAR_DEVICE A finish(A total, u64 ranks) {
        using D = Dividing<A>;
        return static_cast<A>(static_cast<D>(total) / static_cast<D>(ranks));
    }
};

}  // namespace nvrar
