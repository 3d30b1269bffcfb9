// What a launch is given. nvrar_bench/toolchain/structs.py holds the same fields in the same order.
#pragma once

#include "portability.cuh"

namespace nvrar {

constexpr int kMaxSteps = 16;

// The first wait that passed its deadline. Written once; `code` 0 means that all went well.
struct Failure {
    u64 code;
    u64 phase;
    u64 step;
    u64 peer;
    u64 chunk;
    u64 expected;
    u64 seen;
};

struct Transport;  // of messages to other machines: fabric/hosts.cuh

enum Phase : u64 { kReduceScatter = 1, kExchange = 2, kAllGather = 3 };

// Staging memory of one rank, the same on every rank. Offsets and sizes are bytes.
//
//     2 parities x [ inbox: one region per rank of the node | outbox | partials | slots | fold | unfold
//                    | outgoing ]
//     flags: entry, exit, and one arrival flag per parity, arrival and chunk
struct Layout {
    u64 parity_bytes;   // all regions of one parity
    u64 inbox;          // ranks_per_node regions
    u64 outbox;         // ranks_per_node regions in packets, one in signal
    u64 partials;       // one region per result that is combined further
    u64 slots;          // one region per partner of every step
    u64 fold;           // from the node that is folded in
    u64 unfold;         // the result, back to it; in halving also the finished parts, of all
    u64 outgoing;       // packets on their way to a rank whose memory is not mapped, one per level
    u64 entry_flags;    // blocks x ranks_per_node, 64 bytes apart
    u64 exit_flags;     // likewise
    u64 arrival_flags;  // 2 parities x arrivals x chunks_per_region, 8 bytes apart
    u32 region_bytes;   // one slice of a full window (in packets twice that, and an empty unit per block)
    u32 chunks_per_region;
};

// One step of the exchange between nodes, as this rank's node takes part in it.
struct Step {
    u32 radix;       // nodes that exchange directly
    u32 stride;      // between nodes of neighbouring digits
    u32 digit;       // of this node
    u32 first_slot;  // slots of all steps before
    // In halving a node holds parts of a chunk before a step: from the first on, so many for each digit.
    u32 first_part;
    u32 digit_parts;
};

// The host has divided what would be divided alike by every thread: GPUs are slow at that. They count in
// 64 bits at twice the cost, so only offsets in messages and in memory have as many.
struct Arguments {
    const void* send;
    void* recv;
    u64 count;

    u64* epochs;       // [epoch_slots] each block reads its own: the epoch of its first window
    u64 epochs_taken;  // by this call: a window takes one, and what is left over is skipped
    u32 epoch_slots;   // at least blocks

    u32 blocks;  // of this rank
    u32 rank;    // node * ranks_per_node + local
    u32 node;
    u32 local;   // rank in the node, and number of the rail
    u32 ranks_per_node;
    u32 nodes;

    u32 core_nodes;  // the first nodes, which run the steps; the others are folded in
    u32 steps;
    u32 slots;  // of all steps
    u32 arrivals;  // slots, and what else arrives: of folds, and in halving finished parts
    u32 parts;  // of a chunk: core_nodes in halving, 1 in doubling
    Step step[kMaxSteps];

    u32 staged;  // 1: send and recv are private, the node meets in staging memory
    u32 windows;
    u32 window_bytes;      // of all but the last
    u32 slice_bytes;       // of a full slice of a window: a multiple of 16
    u32 last_slice_bytes;  // likewise in the last window
    u32 chunk_bytes;
    u64 timeout_ns;
    u32 spin;  // polls before a waiter gives up its core

    Layout layout;

    void* staging;              // this rank's own
    void* const* node_send;     // [ranks_per_node] peers' send buffers, unused when staged
    void* const* node_recv;     // [ranks_per_node] likewise
    void* const* rank_staging;  // [ranks] where each rank's staging memory is mapped here, or null
    Failure* failure;
    Transport* transport;  // null where all puts are stores, or NVSHMEM's
};

}  // namespace nvrar
