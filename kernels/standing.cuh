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
    Waiter waiter;
    u64 group_size;  // ranks per node
    u64 node;
    u64 local;  // rank in the node, and number of the rail

    NVRAR_DEVICE explicit Standing(const Arguments& a)
        : arguments(a),
          layout(a.layout),
          fabric{a},
          schedule{a, a.rank / a.ranks_per_node},
          waiter{a},
          group_size(a.ranks_per_node),
          node(a.rank / a.ranks_per_node),
          local(a.rank % a.ranks_per_node) {}

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
    NVRAR_DEVICE bool for_windows(u64 message_bytes, u64 limit, Body body) const {
        const Windows windows{arguments, message_bytes, limit};
        for (u64 w = 0; w < windows.count(); ++w)
            if (!body(windows[w])) return false;
        return true;
    }
};

}  // namespace nvrar
