// The start gate of CPU ranks on one machine: all enter, then all leave within a cache line's travel.
// It stands outside the timed part of a call, so that a call starts on all ranks at once.
#pragma once

#include "../wait.cuh"

namespace nvrar {

struct Gate {
    u64* const* flags;  // [ranks] one line of each rank's shared memory
    u64 ranks;
    u64 rank;
    u64 round;
    u64 spin;
    u64 timeout_ns;
    Failure* failure;
};

using GateFlag = cuda::atomic_ref<u64, cuda::thread_scope_system>;

// Whether `peer` has come.
inline bool await_at_gate(const Gate& gate, const Arguments& arguments, u64 peer) {
    const Place place{kReduceScatter, 0, peer, 0};
    return Waiter::wait<cuda::memory_order_acquire>(arguments, gate.flags[peer], gate.round,
                                                    place) == gate.round;
}

// Rank 0 waits for all and then opens; two hops whatever the number of ranks.
inline bool pass_gate(const Gate& gate) {
    Arguments arguments{};
    arguments.spin = gate.spin;
    arguments.timeout_ns = gate.timeout_ns;
    arguments.failure = gate.failure;
    if (gate.rank != 0) GateFlag(*gate.flags[gate.rank]).store(gate.round, cuda::memory_order_release);
    for (u64 peer = 1; gate.rank == 0 && peer < gate.ranks; ++peer)
        if (!await_at_gate(gate, arguments, peer)) return false;
    if (gate.rank == 0) GateFlag(*gate.flags[0]).store(gate.round, cuda::memory_order_release);
    return gate.rank == 0 || await_at_gate(gate, arguments, 0);
}

}  // namespace nvrar

extern "C" void nvrar_pass_gate(const nvrar::Gate* gate) { nvrar::pass_gate(*gate); }
