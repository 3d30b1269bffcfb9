// Bounded waits. None returns before its condition holds, unless its deadline has passed; then the
// first one to fail is reported, and the caller leaves the collective without touching more data.
#pragma once

#include "arguments.cuh"

namespace nvrar {

// Where a wait stands, for the report.
struct Place {
    Phase phase;
    u64 step;
    u64 peer;  // rank waited for
    u64 chunk;
};

struct Waiter {
    const Arguments& arguments;

    // `poll` returns what it saw; the wait is over when `is_there` accepts it.
    template <typename Poll, typename IsThere>
    NVRAR_DEVICE bool wait(const Place& place, u64 expected, Poll poll, IsThere is_there) const {
        if (is_there(poll())) return true;
        for (u64 i = 0; i < arguments.spin; ++i) {
            relax();
            if (is_there(poll())) return true;
        }
        return wait_yielding(place, expected, poll, is_there);
    }

   private:
    template <typename Poll, typename IsThere>
    NVRAR_DEVICE bool wait_yielding(const Place& place, u64 expected, Poll poll,
                                    IsThere is_there) const {
        const u64 start = now_ns();
        while (now_ns() - start < arguments.timeout_ns) {
            if (has_failed()) return false;
            for (int i = 0; i < 8; ++i) {
                if (is_there(poll())) return true;
                yield();
            }
        }
        report(place, expected, poll());
        return false;
    }

    NVRAR_DEVICE bool has_failed() const { return code().load(cuda::memory_order_relaxed) != 0; }

    NVRAR_DEVICE void report(const Place& place, u64 expected, u64 seen) const {
        u64 none = 0;
        if (!code().compare_exchange_strong(none, 1, cuda::memory_order_relaxed)) return;
        Failure& failure = *arguments.failure;
        failure.phase = place.phase;
        failure.step = place.step;
        failure.peer = place.peer;
        failure.chunk = place.chunk;
        failure.expected = expected;
        failure.seen = seen;
    }

    NVRAR_DEVICE cuda::atomic_ref<u64, cuda::thread_scope_device> code() const {
        return cuda::atomic_ref<u64, cuda::thread_scope_device>(arguments.failure->code);
    }
};

}  // namespace nvrar
