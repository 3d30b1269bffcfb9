// Holds a stream back until the host lets it go: what is enqueued behind the hold starts at once then,
// and the time that the host took to enqueue it is not measured.
#pragma once

#include "portability.cuh"

namespace nvrar {

using HostWord = cuda::atomic_ref<u64, cuda::thread_scope_system>;

// Both words lie in host memory that the GPU maps. Tickets only grow, so no word is ever reset.
NVRAR_DEVICE void hold(u64* released, u64* expired, u64 ticket, u64 timeout_ns) {
    const u64 start = now_ns();
    while (HostWord(*released).load(cuda::memory_order_acquire) < ticket) {
        if (now_ns() - start < timeout_ns) continue;
        HostWord(*expired).store(ticket, cuda::memory_order_release);
        return;
    }
}

}  // namespace nvrar

NVRAR_KERNEL nvrar_hold(nvrar::u64* released, nvrar::u64* expired, nvrar::u64 ticket,
                        nvrar::u64 timeout_ns) {
    nvrar::hold(released, expired, ticket, timeout_ns);
}

// What a launch costs when there is nothing to run.
NVRAR_KERNEL nvrar_nothing() {}
