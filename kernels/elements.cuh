// Launches over the elements of one array.
#pragma once

#include "portability.cuh"

namespace nvrar {

// Calls body(i) for those i < count that are this thread's, in a launch of `blocks` blocks.
template <typename Body>
NVRAR_DEVICE void for_own_elements(u64 count, u64 blocks, Body body) {
    const u64 threads = static_cast<u64>(thread_count());
    for (u64 i = block_index() * threads + thread_index(); i < count; i += blocks * threads) body(i);
}

}  // namespace nvrar
