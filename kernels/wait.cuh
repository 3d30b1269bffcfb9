// Bounded waits. None returns before its condition holds, unless its deadline has passed; then the
// first one to fail is reported, and the caller leaves the collective without touching more data.
#pragma once

#include "arguments.cuh"

namespace nvrar {

// What a fabric whose transport moves nothing by itself does in every wait.
#if !defined(NVRAR_MAKES_PROGRESS)
NVRAR_DEVICE void make_progress(const Arguments&) {}
#endif

// Where a wait stands, for the report.
struct Place {
    u32 phase;
    u32 step;
    u32 peer;  // rank waited for
    u32 chunk;

    Place() = default;
    NVRAR_DEVICE Place(Phase p, u32 s, u32 r, u32 c)
        : phase(static_cast<u32>(p)),
          step(s),
          peer(r),
          chunk(c) {}
};

// Where ranks share cores, who has waited so long for another does better to sleep.
constexpr u64 kLongWaitNs = 2'000'000;
// Naps grow with the wait, or hundreds of sleepers would take all of a core just to look.
constexpr u64 kPartOfWait = 16;

struct Waiter {
    // Returns *address as it was last seen. The wait was in vain unless its upper bits, from `Shift`
    // on, are `expected`.
    template <cuda::memory_order Order, int Shift = 0>
    static NVRAR_NOINLINE u64 wait(const Arguments& arguments, const u64* address, u64 expected,
                                   Place place) {
        const u32 spin = arguments.spin;  // an acquire would have it read again
        NVRAR_ROLLED
        for (u32 i = 0; i < spin; ++i) {
            const u64 seen = look<Order>(address);
            if (seen >> Shift == expected) return seen;
            relax();
            if (i % kPollsPerProgress == kPollsPerProgress - 1) make_progress(arguments);
        }
        return wait_yielding<Order, Shift>(arguments, address, expected, place);
    }

    template <cuda::memory_order Order>
    static NVRAR_DEVICE u64 look(const u64* address) {
        u64& word = *global(const_cast<u64*>(address));
        return cuda::atomic_ref<u64, cuda::thread_scope_system>(word).load(Order);
    }

    // Polls `done` until it holds. False if the wait was in vain.
    template <typename Done>
    static NVRAR_DEVICE bool until(const Arguments& arguments, const Place& place, u64 expected,
                                   Done done) {
        for (u32 i = 0; i < arguments.spin; ++i) {
            if (done()) return true;
            relax();
        }
        const u64 start = now_ns();
        while (now_ns() - start < arguments.timeout_ns && !has_failed(arguments)) {
            if (done()) return true;
            yield();
        }
        report(arguments, place, expected, 0);
        return false;
    }

   private:
    static constexpr u32 kPollsPerProgress = 64;

    template <cuda::memory_order Order, int Shift>
    static NVRAR_DEVICE u64 wait_yielding(const Arguments& arguments, const u64* address,
                                          u64 expected, const Place& place) {
        const u64 start = now_ns();
        u64 seen = 0, waited = 0;
        while (waited < arguments.timeout_ns && !has_failed(arguments)) {
            const bool is_long = !arguments.spin && waited > kLongWaitNs;
            NVRAR_ROLLED
            for (int i = 0; i < 8; ++i) {
                seen = look<Order>(address);
                if (seen >> Shift == expected) return seen;
                make_progress(arguments);
                is_long ? doze(waited / kPartOfWait) : yield();
            }
            waited = now_ns() - start;
        }
        report(arguments, place, expected, seen >> Shift);
        return seen;
    }

    static NVRAR_DEVICE bool has_failed(const Arguments& arguments) {
        return code(arguments).load(cuda::memory_order_relaxed) != 0;
    }

    // The first wait of all that were in vain.
    static NVRAR_DEVICE void report(const Arguments& arguments, const Place& place, u64 expected,
                                    u64 seen) {
        u64 none = 0;
        if (!code(arguments).compare_exchange_strong(none, 1, cuda::memory_order_relaxed)) return;
        Failure& failure = *arguments.failure;
        failure.phase = place.phase;
        failure.step = place.step;
        failure.peer = place.peer;
        failure.chunk = place.chunk;
        failure.expected = expected;
        failure.seen = seen;
    }

    static NVRAR_DEVICE cuda::atomic_ref<u64, cuda::thread_scope_device> code(
        const Arguments& arguments) {
        return cuda::atomic_ref<u64, cuda::thread_scope_device>(*global(&arguments.failure->code));
    }
};

}  // namespace nvrar
