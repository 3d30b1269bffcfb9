// What the checks need in device memory: a pattern over an output, and the comparison of what came back
// with what is expected. A generated source includes this file and names the element types:
//
//     #include "verification.cuh"
//     NVRAR_VERIFICATION(float32, float)
#pragma once

#include "datatypes.cuh"
#include "elements.cuh"

namespace nvrar {

// What one comparison found. `wrong` starts as 0 and `first` as the largest value.
struct Verdict {
    u64 wrong;
    u64 first;  // the smallest index of a wrong element
};

// Counts the elements that is_wrong(i) names, over all threads.
template <typename IsWrong>
NVRAR_DEVICE void judge(u64 count, u64 blocks, Verdict* verdict, IsWrong is_wrong) {
    using Shared = cuda::atomic_ref<u64, cuda::thread_scope_device>;
    u64 wrong = 0;
    u64 first = 0;
    for_own_elements(count, blocks, [&](u64 i) {
        if (is_wrong(i) && wrong++ == 0) first = i;
    });
    if (wrong == 0) return;
    Shared(verdict->wrong).fetch_add(wrong, cuda::memory_order_relaxed);
    Shared(verdict->first).fetch_min(first, cuda::memory_order_relaxed);
}

// Equality of values: -0 is 0. A NaN compares false with everything, so it is wrong.
template <typename T>
NVRAR_DEVICE void check_exact(const T* seen, const T* expected, u64 count, u64 blocks,
                              Verdict* verdict) {
    judge(count, blocks, verdict, [&](u64 i) { return !(widen(seen[i]) == widen(expected[i])); });
}

// A NaN, also that of infinity minus infinity, is wrong here by the same rule.
template <typename T>
NVRAR_DEVICE void check_rounding(const T* seen, const double* expected, const double* tolerance,
                                 u64 count, u64 blocks, Verdict* verdict) {
    judge(count, blocks, verdict, [&](u64 i) {
        const double off = static_cast<double>(widen(seen[i])) - expected[i];
        return !((off < 0 ? -off : off) <= tolerance[i]);
    });
}

// Byte i becomes byte i % 8 of the pattern: any element of 1, 2, 4 or 8 bytes, at any address.
NVRAR_DEVICE void fill(u8* target, u64 nbytes, u64 blocks, u64 pattern) {
    for_own_elements(nbytes, blocks,
                     [&](u64 i) { target[i] = static_cast<u8>(pattern >> (i % 8 * 8)); });
}

}  // namespace nvrar

NVRAR_KERNEL nvrar_fill(nvrar::u8* target, nvrar::u64 nbytes, nvrar::u64 blocks,
                        nvrar::u64 pattern) {
    nvrar::fill(target, nbytes, blocks, pattern);
}

#define NVRAR_VERIFICATION(NAME, T)                                                              \
    NVRAR_KERNEL nvrar_check_exact_##NAME(const T* seen, const T* expected, nvrar::u64 count,    \
                                          nvrar::u64 blocks, nvrar::Verdict* verdict) {          \
        nvrar::check_exact(seen, expected, count, blocks, verdict);                              \
    }                                                                                            \
    NVRAR_KERNEL nvrar_check_rounding_##NAME(                                                    \
        const T* seen, const double* expected, const double* tolerance, nvrar::u64 count,        \
        nvrar::u64 blocks, nvrar::Verdict* verdict) {                                            \
        nvrar::check_rounding(seen, expected, tolerance, count, blocks, verdict);                \
    }
