// Loops over spans of elements, shared by the threads of a block.
#pragma once

#include "reduction.cuh"
#include "vector.cuh"

namespace nvrar {

// One span at each of several ranks.
template <typename T>
struct Spans {
    void* const* base;  // span i starts `offset` bytes behind base[i]
    u64 offset;
    u32 count;
    T* own;  // takes the place of span own_index, wherever that lies
    u32 own_index;

    NVRAR_DEVICE T* operator[](u32 i) const {
        return i == own_index ? own : reinterpret_cast<T*>(static_cast<u8*>(base[i]) + offset);
    }
};

// Operands of one reduction, in the order in which they combine.
template <typename T>
using Sources = Spans<const T>;
// Where a result goes: every element is stored to all of them.
template <typename T>
using Targets = Spans<T>;

template <typename T>
NVRAR_DEVICE Targets<T> only(T* target) {
    return {nullptr, 0, 1, target, 0};
}

// As many elements as a span's full vectors have, or one of its tail.
template <typename T, int Lanes>
struct Elements {
    T lane[Lanes];
};
template <typename T, int Lanes>
using Loaded = cuda::std::conditional_t<Lanes == kLanes<T>, Vector<T>, Elements<T, Lanes>>;

// Where up to kInFlight operands or targets lie, those from `from` on: found all at once, before the first
// is used, because each may be a load of its own.
template <typename T, typename Places>
struct Batch {
    T* at[kInFlight];  // null behind the last

    NVRAR_DEVICE Batch(const Places& places, u32 from, u32 first) {
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i)
            at[i] = from + i < places.count ? places[from + i] + first : nullptr;
    }

    // A batch of one is never empty.
    NVRAR_DEVICE bool has(int i) const { return kInFlight == 1 || at[i]; }
};

// total[lane] = the operands' elements first + lane, combined in order. All loads of a batch are under
// way before the first is waited for: on a GPU a load takes longer than all that follows it.
template <typename T, typename Op, int Lanes, typename Operands>
NVRAR_DEVICE void accumulate_batches(const Operands& sources, u32 first, Accumulator<T>* total) {
    NVRAR_ROLLED
    for (u32 begin = 0; begin < sources.count; begin += kInFlight) {
        const Batch<const T, Operands> batch(sources, begin, first);
        Loaded<T, Lanes> loaded[kInFlight];
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) {
            if (!batch.has(i)) continue;
            note_read(batch.at[i], sizeof(T) * Lanes);
            loaded[i] = *reinterpret_cast<const Loaded<T, Lanes>*>(global(batch.at[i]));
        }
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) {
            if (!batch.has(i)) continue;
            NVRAR_UNROLL
            for (int lane = 0; lane < Lanes; ++lane) {
                const Accumulator<T> value = widen<T>(loaded[i].lane[lane]);
                total[lane] = begin + i == 0 ? value : Op::combine(total[lane], value);
            }
        }
    }
}

template <typename T, typename Op, int Lanes, typename Operands>
NVRAR_DEVICE void accumulate(const Operands& sources, u32 first, Accumulator<T>* total) {
    if constexpr (kInFlight > 1) {
        accumulate_batches<T, Op, Lanes>(sources, first, total);
        return;
    }
    const T* a = sources[0] + first;
    if (sources.count == 1) {
        NVRAR_UNROLL
        for (int lane = 0; lane < Lanes; ++lane) total[lane] = widen<T>(a[lane]);
        return;
    }
    const T* b = sources[1] + first;
    NVRAR_UNROLL
    for (int lane = 0; lane < Lanes; ++lane)
        total[lane] = Op::combine(widen<T>(a[lane]), widen<T>(b[lane]));
    NVRAR_ROLLED
    for (u32 i = 2; i < sources.count; ++i) {
        const T* next = sources[i] + first;
        NVRAR_UNROLL
        for (int lane = 0; lane < Lanes; ++lane)
            total[lane] = Op::combine(total[lane], widen<T>(next[lane]));
    }
}

template <typename T, int Lanes>
NVRAR_DEVICE void store_lanes(const T* result, const Targets<T>& targets, u32 first) {
    Loaded<T, Lanes> vector;
    NVRAR_UNROLL
    for (int lane = 0; lane < Lanes; ++lane) vector.lane[lane] = result[lane];
    NVRAR_ROLLED
    for (u32 begin = 0; begin < targets.count; begin += kInFlight) {
        const Batch<T, Targets<T>> batch(targets, begin, first);
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) {
            if (!batch.has(i)) continue;
            note_write(batch.at[i], sizeof(T) * Lanes);
            *reinterpret_cast<Loaded<T, Lanes>*>(global(batch.at[i])) = vector;
        }
    }
}

// targets[all][first .. first + Lanes) = finish(combine over sources), in the order of the sources.
template <typename T, typename Op, int Lanes, typename Operands>
NVRAR_DEVICE void reduce_lanes(const Operands& sources, const Targets<T>& targets, u32 first,
                               u32 divisor) {
    Accumulator<T> total[Lanes];
    accumulate<T, Op, Lanes>(sources, first, total);
    if (divisor) {
        NVRAR_UNROLL
        for (int lane = 0; lane < Lanes; ++lane) total[lane] = Op::finish(total[lane], divisor);
    }
    if constexpr (!Accumulated<T>::is_wider) {
        store_lanes<T, Lanes>(total, targets, first);
    } else {
        T narrowed[Lanes];
        NVRAR_UNROLL
        for (int lane = 0; lane < Lanes; ++lane) narrowed[lane] = narrow<T>(total[lane]);
        store_lanes<T, Lanes>(narrowed, targets, first);
    }
}

// The whole span: full vectors, then the tail element by element. divisor 0: not the last reduction.
template <typename T, typename Op, typename Operands>
NVRAR_DEVICE void reduce(const Operands& sources, const Targets<T>& targets, u32 count, u32 divisor) {
    constexpr u32 lanes = kLanes<T>;
    const u32 vectors = count / lanes;
    note_span();
    NVRAR_ROLLED
    for (u32 v = thread_index(); v < vectors; v += thread_count())
        reduce_lanes<T, Op, kLanes<T>>(sources, targets, v * lanes, divisor);
    NVRAR_ROLLED
    for (u32 i = vectors * lanes + thread_index(); i < count; i += thread_count())
        reduce_lanes<T, Op, 1>(sources, targets, i, divisor);
}

}  // namespace nvrar
