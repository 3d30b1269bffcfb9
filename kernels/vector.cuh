// What one thread moves at a time: aligned vectors where the loads demand it.
#pragma once

#include "portability.cuh"

namespace nvrar {

// One-byte floats become floats of four: half a vector of them is as much as the registers hold.
template <typename T>
constexpr int kLanes = kVectorBytes / (sizeof(T) > 2 ? static_cast<int>(sizeof(T)) : 2);

NVRAR_DEVICE constexpr int align_lanes(int natural, int bytes) {
    const int wanted = kVectorAlignment < bytes ? kVectorAlignment : bytes;
    return wanted > natural ? wanted : natural;
}

// On a GPU, memory that holds vectors starts on a multiple of 16 bytes: the backend sees to that.
template <typename T>
struct alignas(align_lanes(alignof(T), sizeof(T) * kLanes<T>)) Vector {
    T lane[kLanes<T>];
};

struct alignas(kVectorAlignment) Bytes {
    u8 byte[kVectorBytes];
};

// Bytes, unchanged, by all threads of a block. Both start on a multiple of 16 bytes, or on the CPU of
// the element size.
NVRAR_NOINLINE void copy(void* target, const void* source, u32 bytes) {
    u8* NVRAR_RESTRICT to = global(static_cast<u8*>(target));
    const u8* NVRAR_RESTRICT from = global(static_cast<const u8*>(source));
    constexpr u32 wide = sizeof(Bytes);
    const u32 vectors = bytes / wide;
    const u32 stride = thread_count();
    u32 v = thread_index();
    note_span();
    NVRAR_ROLLED
    for (; v + (kInFlight - 1) * stride < vectors; v += kInFlight * stride) {
        Bytes held[kInFlight];
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) {
            note_read(from + (v + i * stride) * wide, wide);
            held[i] = *reinterpret_cast<const Bytes*>(from + (v + i * stride) * wide);
        }
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) {
            note_write(to + (v + i * stride) * wide, wide);
            *reinterpret_cast<Bytes*>(to + (v + i * stride) * wide) = held[i];
        }
    }
    NVRAR_ROLLED
    for (; v < vectors; v += stride) {
        note_read(from + v * wide, wide);
        note_write(to + v * wide, wide);
        *reinterpret_cast<Bytes*>(to + v * wide) = *reinterpret_cast<const Bytes*>(from + v * wide);
    }
    NVRAR_ROLLED
    for (u32 i = vectors * wide + thread_index(); i < bytes; i += thread_count()) {
        note_read(from + i, 1);
        note_write(to + i, 1);
        to[i] = from[i];
    }
}

}  // namespace nvrar
