// Inputs whose all-reduce is known, and what must come back, made where they are needed. The recipes are
// those of nvrar_bench/verify/, element by element: a test holds everything made here against them. A
// generated source includes this file and names the element types:
//
//     #include "problem.cuh"
//     NVRAR_PROBLEM(float32, float)
#pragma once

#include "datatypes.cuh"

namespace nvrar {

enum Recipe : u64 { kAddends, kPowers, kExtremum, kNormals, kFactors, kFold };
enum Sign : u64 { kPlus, kEach, kShared };
enum Combine : u64 { kAdd, kMultiply, kMinimum, kMaximum };

// nvrar_bench/verify/recipe.py holds the same fields in the same order, and says what they are.
struct Formula {
    u64 recipe;
    u64 seed;
    u64 ranks;
    u64 active;
    u64 sign;
    u64 width;
    u64 common;
    u64 multiplier;
    u64 divisor;
    u64 origin;
    u64 span;
    u64 is_maximum;
    u64 factors;
    u64 combine;
    u64 odd;
    double scale;
    double parts;
    double relative;
    double slack;
    u64 choices;
    const u64* choice;
};

// Random words, as nvrar_bench/verify/recipe.py draws them. Each stream has a number of its own.
enum Stream : u64 {
    kOwnAddend = 1,
    kSharedAddend,
    kSigns,
    kOwnDistance,
    kSharedDistance,
    kNormal,
    kFactor,
    kRotation,
    kBits
};
constexpr u64 kEveryone = 0;
constexpr u64 kGolden = 0x9E3779B97F4A7C15u;

NVRAR_DEVICE u64 mix(u64 word) {
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9u;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBu;
    return word ^ (word >> 31);
}

NVRAR_DEVICE u64 draw(const Formula& formula, Stream stream, u64 rank, u64 index) {
    u64 key = mix(formula.seed + kGolden);
    key = mix(key + stream + kGolden);
    key = mix(key + rank + kGolden);
    return mix(mix(index * kGolden + key) + kGolden);
}

NVRAR_DEVICE u64 negate_if(bool is_negative, u64 value) { return is_negative ? 0 - value : value; }

// The place of `rank` in a rotation of all ranks.
NVRAR_DEVICE u64 turn(const Formula& formula, u64 rank, u64 word) {
    return ((word >> 8 & 0xFFFFFFFFu) % formula.ranks + rank) % formula.ranks;
}

// Elements from words in two's complement, and from numbers.

template <typename T>
constexpr bool kIsInteger = cuda::std::is_integral<T>::value;
template <typename T>
constexpr bool kIsSigned = !kIsInteger<T> || cuda::std::is_signed<T>::value;

template <typename T>
NVRAR_DEVICE T round_to(double value) {
    return static_cast<T>(value);
}
// ml_dtypes goes by way of float.
template <>
NVRAR_DEVICE __nv_bfloat16 round_to<__nv_bfloat16>(double value) {
    return __float2bfloat16_rn(static_cast<float>(value));
}

template <typename T>
NVRAR_DEVICE T as_element(u64 word) {
    if constexpr (kIsInteger<T>)
        return static_cast<T>(word);
    else
        return round_to<T>(static_cast<double>(static_cast<long long>(word)));
}

template <typename T>
NVRAR_DEVICE double as_number(T value) {
    return static_cast<double>(widen(value));
}

// Integers that sum within bounds: verify/recipe.py.

NVRAR_DEVICE u64 addend(const Formula& formula, u64 rank, u64 index, u64 shared) {
    if (turn(formula, rank, shared) >= formula.active) return 0;
    const u64 own = draw(formula, kOwnAddend, rank, index);
    const u64 size = formula.choices
                         ? formula.choice[mix(shared) % formula.choices]
                         : 1 + mix(shared) % formula.common + (own & (formula.width - 1));
    if (formula.sign == kPlus) return size;
    return negate_if((formula.sign == kEach ? own : shared) >> 63, size);
}

NVRAR_DEVICE u64 shared_addend(const Formula& formula, u64 index) {
    return draw(formula, kSharedAddend, kEveryone, index);
}

NVRAR_DEVICE u64 sum_of_addends(const Formula& formula, u64 index) {
    const u64 shared = shared_addend(formula, index);
    u64 total = 0;
    for (u64 rank = 0; rank < formula.ranks; ++rank) total += addend(formula, rank, index, shared);
    return total;
}

// Toward zero.
template <typename T>
NVRAR_DEVICE u64 quotient(u64 total, u64 divisor) {
    const bool is_negative = kIsSigned<T> && total >> 63;
    return negate_if(is_negative, negate_if(is_negative, total) / divisor);
}

// Signed powers of two: verify/exact.py.

template <typename T>
NVRAR_DEVICE bool is_flipped(const Formula& formula, u64 rank, u64 index) {
    return kIsSigned<T> && draw(formula, kSigns, rank, index) & 1;
}

template <typename T>
NVRAR_DEVICE T power(bool is_negative, u64 exponent) {
    if constexpr (kIsInteger<T>) {
        return as_element<T>(negate_if(is_negative, u64{1} << exponent));
    } else {
        const double size = same_bytes<double>((exponent + 1023) << 52);
        return round_to<T>(is_negative ? -size : size);
    }
}

template <typename T>
NVRAR_DEVICE T product_of_powers(const Formula& formula, u64 index) {
    bool is_negative = false;
    for (u64 rank = 0; rank < formula.ranks; ++rank)
        is_negative ^= is_flipped<T>(formula, rank, index);
    return power<T>(is_negative, sum_of_addends(formula, index));
}

// One rank, in turn, holds the extremum alone; the others are behind it: verify/exact.py.

NVRAR_DEVICE u64 distance_behind(const Formula& formula, u64 rank, u64 index, u64 shared) {
    if (turn(formula, rank, shared) == 0) return 0;
    return 1 + (draw(formula, kOwnDistance, rank, index) & (formula.width - 1));
}

NVRAR_DEVICE u64 shared_distance(const Formula& formula, u64 index) {
    return draw(formula, kSharedDistance, kEveryone, index);
}

template <typename T>
NVRAR_DEVICE T place(const Formula& formula, u64 shared, u64 behind) {
    const u64 distance = mix(shared) % formula.span + behind;
    return as_element<T>(formula.is_maximum ? formula.origin - distance : formula.origin + distance);
}

// Ordinary numbers: verify/rounding.py.

NVRAR_DEVICE double approximately_normal(u64 word) {
    const double total = static_cast<double>((word & 0xFFFFu) + (word >> 16 & 0xFFFFu) +
                                             (word >> 32 & 0xFFFFu) + (word >> 48));
    return (total - 2 * 65535) * (1.7320508075688772 / 65536);
}

template <typename T>
NVRAR_DEVICE T normal(const Formula& formula, u64 rank, u64 index) {
    return round_to<T>(approximately_normal(draw(formula, kNormal, rank, index)) * formula.scale);
}

template <typename T>
NVRAR_DEVICE T factor(const Formula& formula, u64 rank, u64 index) {
    const u64 word = draw(formula, kFactor, rank, index);
    const u64 start = draw(formula, kRotation, kEveryone, index);
    double size = 1;
    if (turn(formula, rank, start) < formula.factors)
        size = (1 + static_cast<double>(word >> 12) / 4503599627370496.0) * (word & 1 ? 1.0 : 0.5);
    return round_to<T>(word & 2 ? size : -size);
}

// Results that never round: extrema of anything, integers modulo 2^bits.

template <typename T>
NVRAR_DEVICE T any_value(const Formula& formula, u64 rank, u64 index) {
    if constexpr (kIsInteger<T>)
        return as_element<T>(draw(formula, kBits, rank, index) | formula.odd);
    else
        return normal<T>(formula, rank, index);
}

template <typename T>
NVRAR_DEVICE T combined(u64 how, T a, T b) {
    if constexpr (kIsInteger<T>) {
        if (how == kAdd) return as_element<T>(static_cast<u64>(a) + static_cast<u64>(b));
        if (how == kMultiply) return as_element<T>(static_cast<u64>(a) * static_cast<u64>(b));
    }
    const bool takes_b = how == kMinimum ? widen(b) < widen(a) : widen(a) < widen(b);
    return takes_b ? b : a;
}

template <typename T>
NVRAR_DEVICE T folded(const Formula& formula, u64 index) {
    T result = any_value<T>(formula, 0, index);
    for (u64 rank = 1; rank < formula.ranks; ++rank)
        result = combined(formula.combine, result, any_value<T>(formula, rank, index));
    return result;
}

// What `rank` sends.
template <typename T>
NVRAR_DEVICE T input(const Formula& formula, u64 rank, u64 index) {
    switch (formula.recipe) {
        case kAddends:
            return as_element<T>(addend(formula, rank, index, shared_addend(formula, index)) *
                                 formula.multiplier);
        case kPowers:
            return power<T>(is_flipped<T>(formula, rank, index),
                            addend(formula, rank, index, shared_addend(formula, index)));
        case kExtremum: {
            const u64 shared = shared_distance(formula, index);
            return place<T>(formula, shared, distance_behind(formula, rank, index, shared));
        }
        case kNormals: return normal<T>(formula, rank, index);
        case kFactors: return factor<T>(formula, rank, index);
        default: return any_value<T>(formula, rank, index);
    }
}

// What everybody must get, where that is known to the bit.
template <typename T>
NVRAR_DEVICE T expected(const Formula& formula, u64 index) {
    switch (formula.recipe) {
        case kAddends:
            return as_element<T>(quotient<T>(sum_of_addends(formula, index), formula.divisor));
        case kPowers: return product_of_powers<T>(formula, index);
        case kExtremum: return place<T>(formula, shared_distance(formula, index), 0);
        default: return folded<T>(formula, index);
    }
}

// A float64 reference, and how far from it a result may be.
struct Reference {
    double value;
    double tolerance;
};

template <typename T>
NVRAR_DEVICE Reference reference(const Formula& formula, u64 index) {
    const bool is_sum = formula.recipe == kNormals;
    double total = is_sum ? 0 : 1;
    double size = total;
    for (u64 rank = 0; rank < formula.ranks; ++rank) {
        const double value = as_number(input<T>(formula, rank, index));
        total = is_sum ? total + value : total * value;
        size = is_sum ? size + absolute(value) : absolute(total);
    }
    return {total / formula.parts, formula.relative * (size / formula.parts) + formula.slack};
}

// Whole arrays, by a launch of `blocks` blocks.

// Rows are those of ranks that follow each other, from `first_rank` on, `pitch` bytes apart.
template <typename T>
NVRAR_DEVICE void make_inputs(u8* inputs, u64 count, u64 blocks, u64 pitch, u64 rows,
                              const Formula& formula, u64 first_rank) {
    for (u64 row = 0; row < rows; ++row) {
        T* const target = reinterpret_cast<T*>(inputs + row * pitch);
        for_own_elements(count, blocks,
                         [&](u64 i) { target[i] = input<T>(formula, first_rank + row, i); });
    }
}

template <typename T>
NVRAR_DEVICE void make_expected(T* value, u64 count, u64 blocks, const Formula& formula) {
    for_own_elements(count, blocks, [&](u64 i) { value[i] = expected<T>(formula, i); });
}

template <typename T>
NVRAR_DEVICE void make_reference(double* value, double* tolerance, u64 count, u64 blocks,
                                 const Formula& formula) {
    for_own_elements(count, blocks, [&](u64 i) {
        const Reference known = reference<T>(formula, i);
        value[i] = known.value;
        tolerance[i] = known.tolerance;
    });
}

}  // namespace nvrar

#define NVRAR_PROBLEM(NAME, T)                                                                     \
    NVRAR_KERNEL nvrar_inputs_##NAME(nvrar::u8* inputs, nvrar::u64 count, nvrar::u64 blocks,       \
                                     nvrar::u64 pitch, nvrar::u64 rows,                            \
                                     const nvrar::Formula* formula, nvrar::u64 first_rank) {       \
        nvrar::make_inputs<T>(inputs, count, blocks, pitch, rows, *formula, first_rank);           \
    }                                                                                              \
    NVRAR_KERNEL nvrar_expected_##NAME(T* value, nvrar::u64 count, nvrar::u64 blocks,              \
                                       const nvrar::Formula* formula) {                            \
        nvrar::make_expected(value, count, blocks, *formula);                                      \
    }                                                                                              \
    NVRAR_KERNEL nvrar_reference_##NAME(double* value, double* tolerance, nvrar::u64 count,        \
                                        nvrar::u64 blocks, const nvrar::Formula* formula) {        \
        nvrar::make_reference<T>(value, tolerance, count, blocks, *formula);                       \
    }
