// How long a flag takes from one block to another: two blocks of one launch play ping-pong with two of
// them, stored with release and awaited with acquire at system scope, as the flags of the collective
// are. `rounds` rounds are 2 x rounds hops, one after another.
#pragma once

#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
#include <thread>
#endif

#include "../portability.cuh"

namespace nvrar {

using PingPongFlag = cuda::atomic_ref<u64, cuda::thread_scope_system>;

constexpr u64 kFlagsApart = 512;  // bytes: no cache, of whatever line, moves both flags at once

struct PingPong {
    u64* flags;  // one per player, kFlagsApart apart
    u64 first;   // not what the flags hold: games go on counting, so nothing is reset, and a graph
                 // of several begins again below what the last of them has left
    u64 rounds;
    u64 spin;  // polls before a player looks at the clock
    u64 timeout_ns;
    u64* missed;  // stays 0 unless a flag did not come in time: then its value
};

NVRAR_DEVICE PingPongFlag flag_of(const PingPong& game, u64 player) {
    return PingPongFlag(game.flags[player * (kFlagsApart / sizeof(u64))]);
}

// Whether the other player's flag has come to hold `value`.
NVRAR_DEVICE bool hear(const PingPong& game, u64 other, u64 value) {
    const auto has_come = [&] {
        return flag_of(game, other).load(cuda::memory_order_acquire) == value;
    };
    for (u64 i = 0; i < game.spin; ++i)
        if (has_come()) return true;
    for (const u64 start = now_ns(); now_ns() - start < game.timeout_ns; yield())
        if (has_come()) return true;
    PingPongFlag(*game.missed).store(value, cuda::memory_order_relaxed);
    return false;
}

// One player's turns, by one thread: player 0 serves and player 1 answers.
NVRAR_DEVICE void play(const PingPong& game, u64 player) {
    for (u64 value = game.first; value < game.first + game.rounds; ++value) {
        if (player == 1 && !hear(game, 0, value)) return;
        flag_of(game, player).store(value, cuda::memory_order_release);
        if (player == 0 && !hear(game, 1, value)) return;
    }
}

}  // namespace nvrar

// A launch of two blocks of one thread; the CPU's has a thread for each.
NVRAR_KERNEL nvrar_flag_latency(nvrar::u64* flags, nvrar::u64 first, nvrar::u64 rounds,
                                nvrar::u64 spin, nvrar::u64 timeout_ns, nvrar::u64* missed) {
    const nvrar::PingPong game{flags, first, rounds, spin, timeout_ns, missed};
#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
    std::thread other([&] { nvrar::play(game, 1); });
    nvrar::play(game, 0);
    other.join();
#else
    nvrar::play(game, nvrar::block_index());
#endif
}
