// A message is reduced in windows, each with an epoch of its own, so that staging memory stays small.
// A window is cut into one slice per rank of the node, and a slice into chunks, which blocks own.
#pragma once

#include "arguments.cuh"

namespace nvrar {

struct Window {
    u64 first;   // byte of the message
    u32 bytes;   // > 0
    u32 slice;   // bytes of a full slice, a multiple of 16; the last ones may be short or empty
    u64 epoch;
    u32 parity;
    bool is_first;
    bool is_last;

    NVRAR_DEVICE u32 slice_begin(u32 local) const { return smaller(local * slice, bytes); }
    NVRAR_DEVICE u32 slice_bytes(u32 local) const {
        return smaller(slice, bytes - slice_begin(local));
    }
};

NVRAR_DEVICE Window window_at(const Arguments& arguments, u64 message_bytes, u64 first_epoch,
                              u32 index) {
    const u64 first = u64{index} * arguments.window_bytes;
    const u64 epoch = first_epoch + index;
    const bool is_last = index + 1 == arguments.windows;
    return {first,
            is_last ? static_cast<u32>(message_bytes - first) : arguments.window_bytes,
            is_last ? arguments.last_slice_bytes : arguments.slice_bytes,
            epoch,
            static_cast<u32>(epoch & 1),
            index == 0,
            is_last};
}

// Chunks of one slice that this block owns: block b owns b, b + blocks, ... Every block owns at least
// one, which may be empty: each must tell and hear something in every window, or a partner that has
// nothing to wait for runs ahead and reuses staging memory that is still read.
struct Chunk {
    u32 index;
    u32 begin;  // bytes, within the slice
    u32 bytes;
    bool is_absent;  // a part that a short chunk does not have: it has no unit, not even an empty one
};

struct Bounds {
    u32 begin;
    u32 bytes;
};

NVRAR_DEVICE Chunk chunk_at(const Arguments& arguments, u32 slice_bytes, u32 index) {
    const u32 begin = smaller(index * arguments.chunk_bytes, slice_bytes);
    return {index, begin, smaller(arguments.chunk_bytes, slice_bytes - begin), false};
}

template <typename Body>
NVRAR_DEVICE bool for_own_chunks(const Arguments& arguments, u32 slice_bytes, Body body) {
    const u32 first = block_index();
    NVRAR_ROLLED
    for (u32 c = first; c == first || c * arguments.chunk_bytes < slice_bytes; c += arguments.blocks)
        if (!body(chunk_at(arguments, slice_bytes, c))) return false;
    return true;
}

}  // namespace nvrar
