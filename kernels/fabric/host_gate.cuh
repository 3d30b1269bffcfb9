// The start gate of CPU ranks on one machine: all enter, then all leave. By the clock, all leave at a
// time that rank 0 writes beside its flag; else as soon as they see the flag, within a cache line's
// travel. It stands outside the timed part of a call, so that a call starts on all ranks at once.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "../wait.cuh"

namespace nvrar {

struct Gate {
    u64* const* flags;  // [ranks] one line of each rank's shared memory: flag; rank 0's also the start
    u32 ranks;
    u32 rank;
    u32 spin;
    u64 round;
    u64 timeout_ns;
    Failure* failure;
    u64 by_clock;
    u64 lead_ns;   // from the arrival of the last rank to the start
    u64 ahead_ns;  // what this rank's clock shows beyond rank 0's; wraps
    u64 agreed_ns;  // out: the start, on this rank's clock
    u64 left_ns;    // out: when this rank left, on its clock
};

enum GateVerdict : u64 { kPeerIsMissing = 1, kStartIsFar = 2 };

using GateFlag = cuda::atomic_ref<u64, cuda::thread_scope_system>;

// Where ranks share cores, a waiter leaves its core at once and is woken. A futex is the low half of a
// flag.
inline long futex(u64* flag, int operation, u32 value, const timespec* limit) {
    return syscall(SYS_futex, flag, operation, value, limit, nullptr, 0);
}

// Until *flag is `round`, for at most `limit_ns`; returns how much of that is left.
inline u64 sleep_until(u64* flag, u64 round, u64 limit_ns) {
    const u64 start = now_ns();
    u64 waited = 0;
    while (waited < limit_ns) {
        const u64 seen = GateFlag(*flag).load(cuda::memory_order_acquire);
        if (seen == round) break;
        const u64 left = limit_ns - waited;
        const timespec limit{static_cast<time_t>(left / 1'000'000'000),
                             static_cast<long>(left % 1'000'000'000)};
        futex(flag, FUTEX_WAIT, static_cast<u32>(seen), &limit);
        waited = now_ns() - start;
    }
    return waited < limit_ns ? limit_ns - waited : 0;
}

inline void raise_flag(const Gate& gate) {
    u64* flag = gate.flags[gate.rank];
    GateFlag(*flag).store(gate.round, cuda::memory_order_release);
    if (!gate.spin) futex(flag, FUTEX_WAKE, INT_MAX, nullptr);
}

// Whether `peer` has come.
inline bool await_at_gate(const Gate& gate, Arguments arguments, u32 peer) {
    if (!gate.spin)
        arguments.timeout_ns = sleep_until(gate.flags[peer], gate.round, gate.timeout_ns);
    const Place place{kReduceScatter, 0, peer, 0};
    return Waiter::wait<cuda::memory_order_acquire>(arguments, gate.flags[peer], gate.round,
                                                    place) == gate.round;
}

// Rank 0 waits for all and then opens; two hops whatever the number of ranks. It may write the start:
// whoever has come to this round has read that of the round before.
inline bool meet_at_gate(const Gate& gate) {
    Arguments arguments{};
    arguments.spin = gate.spin;
    arguments.timeout_ns = gate.timeout_ns;
    arguments.failure = gate.failure;
    if (gate.rank != 0) {
        raise_flag(gate);
        return await_at_gate(gate, arguments, 0);
    }
    for (u32 peer = 1; peer < gate.ranks; ++peer)
        if (!await_at_gate(gate, arguments, peer)) return false;
    if (gate.by_clock)
        GateFlag(gate.flags[0][1]).store(now_ns() + gate.lead_ns, cuda::memory_order_relaxed);
    raise_flag(gate);
    return true;
}

// Bounded like every wait: a start that lies beyond the deadline comes from clocks that do not agree.
inline void leave_by_clock(Gate& gate) {
    gate.agreed_ns = GateFlag(gate.flags[0][1]).load(cuda::memory_order_relaxed) + gate.ahead_ns;
    gate.left_ns = now_ns();
    const long long first = static_cast<long long>(gate.agreed_ns - gate.left_ns);
    if (first > static_cast<long long>(gate.timeout_ns)) {
        gate.failure->code = kStartIsFar;
        return;
    }
    while (static_cast<long long>(gate.agreed_ns - gate.left_ns) > 0) {
        if (gate.spin) relax();
        else yield();
        gate.left_ns = now_ns();
    }
}

inline void pass_gate(Gate& gate) {
    gate.agreed_ns = 0;
    if (meet_at_gate(gate) && gate.by_clock) leave_by_clock(gate);
}

// A C function of up to six words.
struct NativeCall {
    u64 function;
    u64 arguments[6];
    const u64* failure;  // not 0 once a call has failed; null: a call that fails returns something but 0
};

// Words that a function does not take stay in registers that it does not read: so it is by the calling
// conventions of x86-64 and AArch64.
inline int run(const NativeCall& call) {
    using Function = int (*)(u64, u64, u64, u64, u64, u64);
    const u64* words = call.arguments;
    return reinterpret_cast<Function>(call.function)(words[0], words[1], words[2], words[3],
                                                     words[4], words[5]);
}

// No call follows one that failed: it would work on data that did not arrive.
inline bool has_failed(const NativeCall& call, int result) {
    return call.failure ? *call.failure != 0 : result != 0;
}

// A call, how often it is made, and when it was.
struct Call {
    NativeCall native;
    u64 calls;       // that follow each other
    u64 result;      // out: of the last call; its low half counts
    u64 started_ns;  // out: before the first
    u64 ended_ns;    // out: behind the last
};

inline void time_call(Call& call) {
    call.started_ns = now_ns();
    int result = run(call.native);
    for (u64 left = call.calls - 1; left && !has_failed(call.native, result); --left)
        result = run(call.native);
    call.ended_ns = now_ns();
    call.result = static_cast<u64>(result);
}

// Calls that are made as one.
struct Sequence {
    const NativeCall* parts;
    u64 count;
    u64 failed;  // out: which one did, counted from 1; 0: none
};

// Returns what the last part that ran returned.
inline int run_sequence(Sequence& sequence) {
    int result = 0;
    sequence.failed = 0;
    for (u64 i = 0; i < sequence.count && !sequence.failed; ++i) {
        result = run(sequence.parts[i]);
        if (has_failed(sequence.parts[i], result)) sequence.failed = i + 1;
    }
    return result;
}

}  // namespace nvrar

extern "C" void nvrar_pass_gate(nvrar::Gate* gate) { nvrar::pass_gate(*gate); }

// Nothing stands between the gate, if there is one, and the first reading of the clock.
extern "C" void nvrar_time_call(nvrar::Gate* gate, nvrar::Call* call) {
    if (gate) {
        nvrar::pass_gate(*gate);
        if (gate->failure->code) return;
    }
    nvrar::time_call(*call);
}

extern "C" int nvrar_run_sequence(nvrar::Sequence* sequence) {
    return nvrar::run_sequence(*sequence);
}

// What a call costs in which nothing is done.
extern "C" void nvrar_do_nothing() {}

// The empty assembly keeps sums out of vectors.
inline void mix(nvrar::u64& sum, nvrar::u64 step) {
    sum += (sum >> 7) ^ step;
    asm volatile("" : "+r"(sum));
}

// Arithmetic that fills a core's ports, from registers alone: how long it takes tells how much of the
// core there is.
extern "C" nvrar::u64 nvrar_do_work(nvrar::u64 steps) {
    nvrar::u64 a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;
    for (nvrar::u64 step = 0; step < steps; ++step) {
        mix(a, step);
        mix(b, step);
        mix(c, step);
        mix(d, step);
        mix(e, step);
        mix(f, step);
    }
    return a ^ b ^ c ^ d ^ e ^ f;
}
