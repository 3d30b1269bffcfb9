// What the checks need in device memory: a pattern over an output, and the comparison of what came back
// with what is expected. A generated source includes this file and names the element types:
//
//     #include "verification.cuh"
//     NVRAR_VERIFICATION(float32, float)
#pragma once

#include "datatypes.cuh"

namespace nvrar {

// What one comparison found in a row: virtual ranks have one each, `pitch` bytes apart. It starts as
// zeros, so that it only grows.
struct Verdict {
    u64 wrong;
    u64 nearest;  // the smallest index of a wrong element, every bit flipped
    u64 damaged;  // bytes around the output that are no longer the canary's
};
using VerdictWord = cuda::atomic_ref<u64, cuda::thread_scope_device>;

// The bytes before and behind an output, `bytes` on each side.
struct Around {
    u8* front;
    u8* behind;
    u64 bytes;
};

template <typename T>
NVRAR_DEVICE T* at_row(T* first, u64 pitch, u64 row) {
    using Byte = cuda::std::conditional_t<cuda::std::is_const_v<T>, const u8, u8>;
    return reinterpret_cast<T*>(reinterpret_cast<Byte*>(first) + row * pitch);
}
NVRAR_DEVICE Around at_row(const Around& around, u64 pitch, u64 row) {
    return {around.front + row * pitch, around.behind + row * pitch, around.bytes};
}

// No two neighbours are equal and no byte is 0: neither zeroing nor shifting goes unseen.
NVRAR_DEVICE u8 canary(u64 i) { return static_cast<u8>((i % 64 * 37 + 0xA5) | 1); }

NVRAR_DEVICE u64 is_damaged(const u8* byte, u64 i) { return byte[i] != canary(i); }

// Counts the elements of a row that is_wrong(element, i) names, over all threads.
template <typename T, typename IsWrong>
NVRAR_DEVICE void judge(const T* seen, u64 count, u64 blocks, Verdict* verdict, IsWrong is_wrong) {
    u64 wrong = 0;
    u64 first = 0;
    for_own_elements(count, blocks, [&](u64 i) {
        if (is_wrong(widen(seen[i]), i) && wrong++ == 0) first = i;
    });
    if (wrong == 0) return;
    VerdictWord(verdict->wrong).fetch_add(wrong, cuda::memory_order_relaxed);
    VerdictWord(verdict->nearest).fetch_max(~first, cuda::memory_order_relaxed);
}

NVRAR_DEVICE void look_around(const Around& around, u64 blocks, Verdict* verdict) {
    u64 damaged = 0;
    for_own_elements(around.bytes, blocks, [&](u64 i) {
        damaged += is_damaged(around.front, i) + is_damaged(around.behind, i);
    });
    if (damaged) VerdictWord(verdict->damaged).fetch_add(damaged, cuda::memory_order_relaxed);
}

template <typename T, typename IsWrong>
NVRAR_DEVICE void judge_rows(const T* seen, u64 count, u64 blocks, u64 pitch, u64 rows,
                             Verdict* verdicts, const Around& around, IsWrong is_wrong) {
    for (u64 row = 0; row < rows; ++row) {
        judge(at_row(seen, pitch, row), count, blocks, verdicts + row, is_wrong);
        look_around(at_row(around, pitch, row), blocks, verdicts + row);
    }
}

// Byte i of each row becomes byte i % 8 of the pattern: any element of 1, 2, 4 or 8 bytes, at any
// address.
NVRAR_DEVICE void spoil(u8* output, u64 nbytes, u64 blocks, u64 pitch, u64 rows, u64 pattern,
                        const Around& around) {
    for (u64 row = 0; row < rows; ++row) {
        u8* const target = at_row(output, pitch, row);
        const Around here = at_row(around, pitch, row);
        for_own_elements(nbytes, blocks,
                         [&](u64 i) { target[i] = static_cast<u8>(pattern >> (i % 8 * 8)); });
        for_own_elements(here.bytes, blocks,
                         [&](u64 i) { here.front[i] = here.behind[i] = canary(i); });
    }
}

}  // namespace nvrar

NVRAR_KERNEL nvrar_spoil(nvrar::u8* output, nvrar::u64 nbytes, nvrar::u64 blocks, nvrar::u64 pitch,
                         nvrar::u64 rows, nvrar::u64 pattern, nvrar::u8* front, nvrar::u8* behind,
                         nvrar::u64 around) {
    nvrar::spoil(output, nbytes, blocks, pitch, rows, pattern, {front, behind, around});
}

// Exact is equality of values: -0 is 0. A NaN compares false with everything, so it is wrong, and so is that
// of infinity minus infinity. NVRTC 13.0 takes a lambda with `auto` for a host function.
#define NVRAR_VERIFICATION(NAME, T)                                                                \
    NVRAR_KERNEL nvrar_check_exact_##NAME(                                                         \
        const T* seen, nvrar::u64 count, nvrar::u64 blocks, nvrar::u64 pitch, nvrar::u64 rows,     \
        const T* expected, nvrar::Verdict* verdicts, nvrar::u8* front, nvrar::u8* behind,          \
        nvrar::u64 around) {                                                                       \
        nvrar::judge_rows(seen, count, blocks, pitch, rows, verdicts, {front, behind, around},     \
                          [&](nvrar::Accumulator<T> value, nvrar::u64 i) {                         \
                              return !(value == nvrar::widen(expected[i]));                        \
                          });                                                                      \
    }                                                                                              \
    NVRAR_KERNEL nvrar_check_rounding_##NAME(                                                      \
        const T* seen, nvrar::u64 count, nvrar::u64 blocks, nvrar::u64 pitch, nvrar::u64 rows,     \
        const double* expected, const double* tolerance, nvrar::Verdict* verdicts,                 \
        nvrar::u8* front, nvrar::u8* behind, nvrar::u64 around) {                                  \
        nvrar::judge_rows(seen, count, blocks, pitch, rows, verdicts, {front, behind, around},     \
                          [&](nvrar::Accumulator<T> value, nvrar::u64 i) {                         \
                              return !(nvrar::absolute(static_cast<double>(value) - expected[i])   \
                                       <= tolerance[i]);                                           \
                          });                                                                      \
    }
