// Where a rank stands: what it was told, its node and rail, and where its memory lies. Both protocols
// start from here.
#pragma once

#include "schedule.cuh"
#include "wait.cuh"

namespace nvrar {

struct Standing {
    const Arguments& arguments;
    const Layout& layout;
    Fabric fabric;
    Schedule schedule;
    u32 group_size;  // ranks per node
    u32 node;
    u32 local;  // rank in the node, and number of the rail
    u32 block;  // of this rank
    u64 first_epoch;

    NVRAR_DEVICE explicit Standing(const Arguments& a)
        : arguments(a),
          layout(a.layout),
          fabric{a},
          schedule{a},
          group_size(kRanksPerNode ? kRanksPerNode : a.ranks_per_node),
          node(a.node),
          local(a.local),
          block(block_index()),
          first_epoch(global(a.epochs)[block]) {
        note_read(a.epochs + block, sizeof(u64));
    }

    NVRAR_DEVICE u32 ranks() const { return group_size * (kRadix == 1 ? 1 : arguments.nodes); }

    // Offset in anybody's staging memory.
    NVRAR_DEVICE u64 region(const Window& window, u64 kind, u32 index) const {
        return window.parity * layout.parity_bytes + kind + u64{index} * layout.region_bytes;
    }

    // Offset in the message of something that begins `begin` bytes behind a slice's start.
    NVRAR_DEVICE u64 in_message(const Window& window, u32 slice, u32 begin) const {
        return window.first + window.slice_begin(slice) + begin;
    }

    // Where what comes in a slot lies.
    NVRAR_DEVICE u64 slot_region(const Window& window, u32 slot) const {
        return region(window, layout.slots, schedule.region_of(slot));
    }

    NVRAR_DEVICE u64 arrival_flag(const Window& window, u32 slot, u32 chunk) const {
        const u32 index = (window.parity * arguments.arrivals + slot) * layout.chunks_per_region + chunk;
        return layout.arrival_flags + index * u64{sizeof(u64)};
    }

    // Messages, of fabrics that send them. Expected before anything is sent, they go straight to their
    // place; `span` says which bytes of a region a chunk of a slice of `slice_bytes` is.

    template <typename Span>
    NVRAR_DEVICE void expect_messages(const Window& window, u32 slice_bytes, Span span) const {
        for_senders([&](u32 from, u32 slot, auto part) {
            if (fabric.is_mapped(from)) return;
            for_own_chunks(arguments, slice_bytes, [&](const Chunk& chunk) {
                const Bounds bounds = span(part(chunk));
                fabric.expect(from, slot_region(window, slot) + bounds.begin, bounds.bytes,
                              arrival_flag(window, slot, chunk.index));
                return true;
            });
        });
    }

    // What is not yet sent when the phase ends is waited for here: its source may be written again.
    NVRAR_DEVICE bool await_all_puts(const Window& window) const {
        return fabric.await_all_puts(Place{kExchange, schedule.turns(), arguments.rank, 0},
                                     window.epoch);
    }

    // Calls body(rank, slot, digit) for everybody that gets something from here in a turn: behind the last
    // one it is the folded node.
    static constexpr u32 kAll = ~u32{0};  // digits
    template <typename Body>
    NVRAR_DEVICE void for_takers(u32 turn, Body body) const {
        if (turn > schedule.turns() || (turn == schedule.turns() && !schedule.has_folded())) return;
        const bool is_fold = schedule.is_folded() || turn == schedule.turns();
        const Group group = is_fold ? schedule.fold() : schedule.group(turn);
        NVRAR_ROLLED
        for (u32 i = 1; i < group.radix; ++i) {
            const u32 digit = around(group.digit + i, group.radix);  // spread over the partners
            const u32 slot = !is_fold               ? schedule.slot(turn, digit, group.digit)
                             : schedule.is_folded() ? schedule.fold_slot()
                                                    : schedule.unfold_slot();
            body(group.node(digit) * group_size + local, slot, is_fold ? kAll : digit);
        }
    }

    template <typename Body>
    NVRAR_DEVICE bool for_windows(u64 message_bytes, Body body) const {
        if (first_epoch == kGaveUp) return false;
        bool went_well = true;
        NVRAR_ROLLED
        for (u32 w = 0; went_well && w < arguments.windows; ++w)
            went_well = body(window_at(arguments, message_bytes, first_epoch, w));
        leave_epochs(went_well ? first_epoch + arguments.epochs_taken : kGaveUp);
        return went_well;
    }

   private:
    // Calls body(rank, slot, which part of a chunk) for everybody who puts something here in a window.
    template <typename Body>
    NVRAR_DEVICE void for_senders(Body body) const {
        const auto all = [](const Chunk& chunk) { return chunk; };
        const auto visit = [&](u32 from_node, u32 slot, auto part) {
            body(from_node * group_size + local, slot, part);
        };
        if (schedule.is_folded()) {
            visit(schedule.fold_partner(), schedule.unfold_slot(), all);
            return;
        }
        if (schedule.has_folded()) visit(schedule.fold_partner(), schedule.fold_slot(), all);
        for (u32 turn = 0; turn < schedule.turns(); ++turn) {
            const Group group = schedule.group(turn);
            for (u32 digit = 0; digit < group.radix; ++digit)
                if (digit != group.digit)
                    visit(group.node(digit), schedule.slot(turn, group.digit, digit),
                          [&](const Chunk& chunk) { return schedule.received(chunk, turn, digit); });
        }
    }

    // In place of an epoch: a wait was in vain. Calls that are queued already must not run: they would
    // use epochs again under which peers may have seen something else.
    static constexpr u64 kGaveUp = 0;

    // For the next call, which may have another number of blocks: between them they advance all slots.
    NVRAR_DEVICE void leave_epochs(u64 next) const {
        block_sync();  // all threads have read theirs
        NVRAR_ROLLED
        for (u32 slot = block + thread_index() * arguments.blocks; slot < arguments.epoch_slots;
             slot += arguments.blocks * thread_count()) {
            note_write(arguments.epochs + slot, sizeof(u64));
            global(arguments.epochs)[slot] = next;
        }
    }
};

}  // namespace nvrar
