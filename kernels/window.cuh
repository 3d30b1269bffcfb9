// A message is reduced in windows, each with an epoch of its own, so that staging memory stays small.
// A window is cut into one slice per rank of the node, and a slice into chunks, which blocks own.
#pragma once

#include "schedule.cuh"

namespace nvrar {

constexpr u64 kSliceAlignment = 16;

struct Window {
    u64 first;   // byte of the message
    u64 bytes;   // > 0
    u64 slice;   // bytes of a full slice, a multiple of 16; the last ones may be short or empty
    u64 epoch;
    u64 parity;
    bool is_first;
    bool is_last;

    NVRAR_DEVICE u64 slice_begin(u64 local) const { return smaller(local * slice, bytes); }
    NVRAR_DEVICE u64 slice_bytes(u64 local) const {
        return smaller(slice, bytes - slice_begin(local));
    }
};

// The windows of a message. Without staging between nodes nothing bounds a window: it is the message.
struct Windows {
    const Arguments& arguments;
    u64 first_epoch;
    u64 message_bytes;
    u64 limit;

    NVRAR_DEVICE u64 count() const {
        return message_bytes <= limit ? 1 : (message_bytes + limit - 1) / limit;
    }

    NVRAR_DEVICE Window operator[](u64 index) const {
        const u64 first = index * limit;
        const u64 bytes = smaller(limit, message_bytes - first);
        const u64 epoch = first_epoch + index;
        const u64 share = (bytes + arguments.ranks_per_node - 1) / arguments.ranks_per_node;
        return {first,      bytes,      round_up(share, kSliceAlignment), epoch, epoch & 1,
                index == 0, index + 1 == count()};
    }
};

// Chunks of one slice that this block owns: block b owns b, b + blocks, ... Every block owns at least
// one, which may be empty: each must tell and hear something in every window, or a partner that has
// nothing to wait for runs ahead and reuses staging memory that is still read.
struct Chunk {
    u64 index;
    u64 begin;  // bytes, within the slice
    u64 bytes;
};

// The number of this block among those of its rank; a launch may hold several ranks.
NVRAR_DEVICE u64 own_block(const Arguments& arguments) {
    const u64 index = block_index();
    return index < arguments.blocks ? index : index % arguments.blocks;
}

NVRAR_DEVICE u64 chunks_of(const Arguments& arguments, u64 slice_bytes) {
    if (slice_bytes <= arguments.blocks * arguments.chunk_bytes) return arguments.blocks;
    return (slice_bytes + arguments.chunk_bytes - 1) / arguments.chunk_bytes;
}

NVRAR_DEVICE Chunk chunk_at(const Arguments& arguments, u64 slice_bytes, u64 index) {
    const u64 begin = smaller(index * arguments.chunk_bytes, slice_bytes);
    return {index, begin, smaller(arguments.chunk_bytes, slice_bytes - begin)};
}

template <typename Body>
NVRAR_DEVICE bool for_own_chunks(const Arguments& arguments, u64 slice_bytes, Body body) {
    const u64 chunks = chunks_of(arguments, slice_bytes);
    NVRAR_ROLLED
    for (u64 c = own_block(arguments); c < chunks; c += arguments.blocks)
        if (!body(chunk_at(arguments, slice_bytes, c))) return false;
    return true;
}

}  // namespace nvrar
