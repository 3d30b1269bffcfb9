// What a rank does between two all-reduces of a decode step: it reads memory that no cache holds, or
// waits.
#pragma once

#include "portability.cuh"

namespace nvrar {

// Memory that is read in turns: a read goes on where the last one ended, so what it finds was read the
// longest time ago.
struct WorkMemory {
    u64* words;
    u64 nbytes;   // a multiple of sizeof(Piece)
    u64 next;     // where the next read begins, in bytes; a multiple too
    u64 arrived;  // blocks of the launch under way that are done
    u64 seen;     // reads whose words combined to kUnlikely: so no read can be left out
};
using MemoryWord = cuda::atomic_ref<u64, cuda::thread_scope_device>;

constexpr u64 kUnlikely = 0x6E7672617220ull;

// A load of a GPU's thread, or a cache line of the CPU, whose compiler keeps the sum of lines in registers.
constexpr u64 kPieceWords = kVectorAlignment > 1 ? 2 : 8;
struct alignas(16) Piece {
    u64 word[kPieceWords];

    NVRAR_DEVICE void add(const Piece& other) {
        NVRAR_UNROLL
        for (u64 i = 0; i < kPieceWords; ++i) word[i] ^= other.word[i];
    }
};

// This thread's part of a span; all loads of a round are under way before the first is waited for.
NVRAR_DEVICE Piece read_span(const Piece* from, u64 pieces, u64 blocks, Piece total) {
    const u64 stride = blocks * thread_count();
    u64 p = static_cast<u64>(block_index()) * thread_count() + thread_index();
    for (; p + (kInFlight - 1) * stride < pieces; p += kInFlight * stride) {
        Piece held[kInFlight];
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) held[i] = from[p + i * stride];
        NVRAR_UNROLL
        for (int i = 0; i < kInFlight; ++i) total.add(held[i]);
    }
    for (; p < pieces; p += stride) total.add(from[p]);
    return total;
}

// Reads `nbytes`, a multiple of sizeof(Piece), by all blocks; the last of them moves it on.
NVRAR_DEVICE void read_memory(WorkMemory* memory, u64 nbytes, u64 blocks) {
    u64 at = memory->next;
    Piece total{};
    for (u64 left = nbytes; left;) {
        const u64 span = smaller(left, memory->nbytes - at);
        const Piece* from = reinterpret_cast<const Piece*>(memory->words) + at / sizeof(Piece);
        total = read_span(from, span / sizeof(Piece), blocks, total);
        left -= span;
        at = around(at + span, memory->nbytes);
    }
    u64 folded = 0;
    for (u64 word : total.word) folded ^= word;
    if (folded == kUnlikely) MemoryWord(memory->seen).fetch_add(1, cuda::memory_order_relaxed);
    block_sync();  // all threads of the block have read where to begin
    if (thread_index() != 0) return;
    if (MemoryWord(memory->arrived).fetch_add(1, cuda::memory_order_acq_rel) + 1 < blocks) return;
    memory->next = at;
    memory->arrived = 0;
}

// Numbers that no multiplication turns into infinity or NaN, whichever float of 16, 32 or 64 bits reads
// them: signs and the low bits of each 16 vary, the exponents do not.
NVRAR_DEVICE void fill_memory(u64* words, u64 count, u64 blocks) {
    for_own_elements(count, blocks, [&](u64 i) {
        u64 mixed = (i + 1) * 0x9E3779B97F4A7C15ull;
        mixed = (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93ull;
        words[i] = ((mixed ^ (mixed >> 32)) & 0x807F807F807F807Full) | 0x3C003C003C003C00ull;
    });
}

NVRAR_DEVICE void spin(u64 nanoseconds) {
    const u64 start = now_ns();
    while (now_ns() - start < nanoseconds) relax();
}

}  // namespace nvrar

NVRAR_KERNEL nvrar_fill_memory(nvrar::u64* words, nvrar::u64 count, nvrar::u64 blocks) {
    nvrar::fill_memory(words, count, blocks);
}

NVRAR_KERNEL nvrar_read_memory(nvrar::WorkMemory* memory, nvrar::u64 nbytes, nvrar::u64 blocks) {
    nvrar::read_memory(memory, nbytes, blocks);
}

NVRAR_KERNEL nvrar_spin(nvrar::u64 nanoseconds) { nvrar::spin(nanoseconds); }
