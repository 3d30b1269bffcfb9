// Who exchanges what with whom between the nodes: a mixed-radix schedule.
//
// Node numbers are written in the mixed base radix[0], radix[1], ... In step s the nodes that differ in
// digit s alone form a group and exchange directly, all with all. Radix 2 throughout is recursive
// doubling; one step of radix N is a direct exchange. Nodes from core_nodes on take no part in the
// steps: each is folded into node - core_nodes before them and gets the result back after them.
//
// In `doubling` a node sends all that it has combined, once in each step. In `halving` a chunk is cut into
// a part for each node of the core. In step s a node sends each member of its group the parts that this
// one is to combine further, until it holds one finished part. As many turns again, in the opposite order,
// gather the finished parts.
#pragma once

#include "window.cuh"

// Kernels of GPUs may be built for one shape of a run: so many ranks per node, and nodes that exchange in
// steps of one radix with no node folded in; radix 1 is one node. What is fixed is not read and computed
// again and again. 0: anything.
#if !defined(NVRAR_RANKS_PER_NODE)
#define NVRAR_RANKS_PER_NODE 0
#define NVRAR_RADIX 0
#endif

namespace nvrar {

constexpr u32 kRanksPerNode = NVRAR_RANKS_PER_NODE;
constexpr u32 kRadix = NVRAR_RADIX;

struct Group {
    u32 radix;
    u32 digit;   // of this node
    u32 first;   // node with digit 0
    u32 stride;  // between nodes of neighbouring digits

    NVRAR_DEVICE u32 node(u32 other_digit) const { return first + other_digit * stride; }
};

struct Schedule {
    const Arguments& arguments;

#if defined(NVRAR_HALVING)  // a kernel of GPUs that had both would take more registers
    static constexpr NVRAR_DEVICE bool is_halving() { return NVRAR_HALVING; }
#else
    NVRAR_DEVICE bool is_halving() const { return arguments.parts > 1; }
#endif
    NVRAR_DEVICE bool is_one_node() const { return kRadix ? kRadix == 1 : arguments.nodes == 1; }
    NVRAR_DEVICE u32 steps() const { return kRadix == 1 ? 0 : arguments.steps; }
    NVRAR_DEVICE u32 turns() const { return is_halving() ? 2 * steps() : steps(); }
    NVRAR_DEVICE bool is_last_reduction(u32 turn) const { return turn + 1 == steps(); }
    NVRAR_DEVICE bool is_gather(u32 turn) const { return is_halving() && turn >= steps(); }

    NVRAR_DEVICE bool is_folded() const { return !kRadix && arguments.node >= arguments.core_nodes; }
    NVRAR_DEVICE bool has_folded() const {
        return !kRadix && arguments.node + arguments.core_nodes < arguments.nodes;
    }
    NVRAR_DEVICE u32 fold_partner() const {
        return is_folded() ? arguments.node - arguments.core_nodes
                           : arguments.node + arguments.core_nodes;
    }

    // This node and the one that it is folded into, or that is folded into it.
    NVRAR_DEVICE Group fold() const { return {2, 1, fold_partner(), 0}; }
    NVRAR_DEVICE Group group(u32 turn) const {
        const Step& s = step(turn);
        return {kRadix ? kRadix : s.radix, s.digit, arguments.node - s.digit * s.stride, s.stride};
    }

    // What a node sends to, and gets from, the node of `digit` in its group: all of a chunk in doubling,
    // and to and from a folded node, before and behind all turns.
    NVRAR_DEVICE Chunk sent(const Chunk& chunk, u32 turn, u32 digit) const {
        if (is_whole(turn)) return chunk;
        return part(chunk, step(turn), is_gather(turn) ? step(turn).digit : digit);
    }
    NVRAR_DEVICE Chunk received(const Chunk& chunk, u32 turn, u32 digit) const {
        if (is_whole(turn)) return chunk;
        return part(chunk, step(turn), is_gather(turn) ? digit : step(turn).digit);
    }

    // The slot, counted over all turns, in which a node of `at_digit` receives from `from_digit`.
    NVRAR_DEVICE u32 slot(u32 turn, u32 at_digit, u32 from_digit) const {
        const u32 first = step(turn).first_slot + (is_gather(turn) ? unfold_slot() + 1 : 0);
        return first + from_digit - (from_digit > at_digit ? 1 : 0);
    }
    NVRAR_DEVICE u32 fold_slot() const { return arguments.slots; }
    NVRAR_DEVICE u32 unfold_slot() const { return fold_slot() + 1; }
    // Slots have regions of their own, but for those of finished parts: together these are one slice.
    NVRAR_DEVICE u32 region_of(u32 slot) const { return smaller(slot, unfold_slot()); }

   private:
    NVRAR_DEVICE const Step& step(u32 turn) const {
        return arguments.step[is_gather(turn) ? turns() - 1 - turn : turn];
    }

    NVRAR_DEVICE bool is_whole(u32 turn) const {
        return !is_halving() || is_folded() || turn >= turns();
    }

    // The parts of a chunk that the node of `digit` holds behind a step.
    NVRAR_DEVICE Chunk part(const Chunk& chunk, const Step& s, u32 digit) const {
        constexpr u32 unit = 16;  // no element is split, and vectors are whole
        const u32 parts = arguments.parts;
        const u32 units = (chunk.bytes + unit - 1) / unit;
        const u32 part_bytes = (units + parts - 1) / parts * unit;
        const u32 first = s.first_part + digit * s.digit_parts;
        const u32 begin = smaller(first * part_bytes, chunk.bytes);
        const u32 bytes = smaller(s.digit_parts * part_bytes, chunk.bytes - begin);
        // An empty chunk's empty unit is in its first part: somebody must tell and hear something.
        return {chunk.index, chunk.begin + begin, bytes, !bytes && (chunk.bytes || first)};
    }
};

}  // namespace nvrar
