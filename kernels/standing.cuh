// Where a rank stands: what it was told, its node and rail, and where its memory lies. Both protocols
// start from here.
#pragma once

#include "wait.cuh"
#include "window.cuh"

namespace nvrar {

struct Standing {
    const Arguments& arguments;
    const Layout& layout;
    Fabric fabric;
    Schedule schedule;
    u64 group_size;  // ranks per node
    u64 node;
    u64 local;  // rank in the node, and number of the rail
    u64 block;  // of this rank
    u64 first_epoch;

    NVRAR_DEVICE explicit Standing(const Arguments& a)
        : arguments(a),
          layout(a.layout),
          fabric{a},
          schedule{a},
          group_size(a.ranks_per_node),
          node(a.node),
          local(a.local),
          block(block_index()),
          first_epoch(a.epochs[block]) {
        note_read(a.epochs + block, sizeof(u64));
    }

    NVRAR_DEVICE u64 ranks() const { return group_size * arguments.nodes; }

    // Offset in anybody's staging memory.
    NVRAR_DEVICE u64 region(const Window& window, u64 kind, u64 index) const {
        return window.parity * layout.parity_bytes + kind + index * layout.region_bytes;
    }

    // Offset in the message of something that begins `begin` bytes behind a slice's start.
    NVRAR_DEVICE u64 in_message(const Window& window, u64 slice, u64 begin) const {
        return window.first + window.slice_begin(slice) + begin;
    }

    template <typename Body>
    NVRAR_DEVICE bool for_windows(u64 message_bytes, Body body) const {
        if (first_epoch == kGaveUp) return false;
        bool went_well = true;
        NVRAR_ROLLED
        for (u64 w = 0; went_well && w < arguments.windows; ++w)
            went_well = body(window_at(arguments, message_bytes, first_epoch, w));
        leave_epochs(went_well ? first_epoch + arguments.epochs_taken : kGaveUp);
        return went_well;
    }

   private:
    // In place of an epoch: a wait was in vain. Calls that are queued already must not run: they would
    // use epochs again under which peers may have seen something else.
    static constexpr u64 kGaveUp = 0;

    // For the next call, which may have another number of blocks: between them they advance all slots.
    NVRAR_DEVICE void leave_epochs(u64 next) const {
        block_sync();  // all threads have read theirs
        NVRAR_ROLLED
        for (u64 slot = block + thread_index() * arguments.blocks; slot < arguments.epoch_slots;
             slot += arguments.blocks * thread_count()) {
            note_write(arguments.epochs + slot, sizeof(u64));
            arguments.epochs[slot] = next;
        }
    }
};

}  // namespace nvrar
