// The cells of protocol `packet`: units of 16 bytes and their four cells, which unit is whose, and where
// cells lie in staging memory. Element types are not known here.
//
// A unit is two halves of 8 bytes, and threads side by side have halves side by side: what a warp reads or
// writes by one instruction is without gaps.
//
// All slices of a window have as many units, those of a full slice: what lies behind the message is sent as
// zeros and never stored. So a unit has the same place in every slice, and no rank's work differs.
#pragma once

#include "standing.cuh"

namespace nvrar {

constexpr u32 kUnitBytes = 16;               // payload handled at a time: a slice holds whole units
constexpr u32 kHalfBytes = kUnitBytes / 2;
constexpr u32 kCellBytes = 8;                // one packet
constexpr u32 kExpansion = 2;                // bytes on the wire per byte of payload
constexpr u32 kCellsPerUnit = kUnitBytes * kExpansion / kCellBytes;
constexpr u32 kCellsPerHalf = kCellsPerUnit / 2;
constexpr u32 kRowUnits = kSideBySide;  // units whose halves lie in two rows, one behind the other

struct Words {
    u32 word[kCellsPerUnit];
};

struct Packets {
    u64 cell[kCellsPerUnit];
};

// A unit of the slice region. A block without a chunk in the slice has an empty one behind all others: it
// must tell and hear something in every window.
struct Piece {
    u32 chunk;
    u32 place;   // of the first half in the region, in bytes of payload
    u32 stride;  // from there to the second half
    bool is_empty;
};

struct Cells : Standing {
    using Standing::Standing;

    // One unit

    template <typename Unit>
    NVRAR_DEVICE void write(u64* cells, const Window& window, const Piece& piece,
                            const Unit& unit) const {
        const Words words = same_bytes<Words>(unit);
        const u64 flag = static_cast<u64>(static_cast<u32>(window.epoch)) << 32;
        u64* at = cells + piece.place / kHalfBytes * kCellsPerHalf;
        NVRAR_UNROLL
        for (u32 half = 0; half < 2; ++half) {
            const u32* word = words.word + half * kCellsPerHalf;
            const u64 packets[kCellsPerHalf] = {flag | word[0], flag | word[1]};
            store_cells(at + half * cells_apart(piece), packets);
        }
    }

    // Of a unit whose first cell is at `at`.
    static NVRAR_DEVICE Packets peek(const u64* at, const Piece& piece) {
        Packets seen;
        load_cells(at, seen.cell);
        load_cells(at + cells_apart(piece), seen.cell + kCellsPerHalf);
        return seen;
    }

    static NVRAR_DEVICE bool has_come(const Packets& seen, u32 flag) {
        u32 other = 0;
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) other |= static_cast<u32>(seen.cell[c] >> 32) ^ flag;
        return !other;
    }

    // The data of what was seen, or of what comes after it where a flag is not yet there.
    template <typename Unit>
    NVRAR_DEVICE bool take(const u64* at, const Window& window, const Piece& piece,
                           const Place& place, const Packets& seen, Unit& unit) const {
        const u32 flag = static_cast<u32>(window.epoch);
        Packets packets = seen;
        if (!has_come(packets, flag) && !await(at, piece, flag, place, packets)) return false;
        Words words;
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) words.word[c] = static_cast<u32>(packets.cell[c]);
        unit = same_bytes<Unit>(words);
        return true;
    }

    NVRAR_DEVICE bool await(const u64* at, const Piece& piece, u32 flag, const Place& place,
                            Packets& packets) const {
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) {
            const u64* cell = at + c / kCellsPerHalf * cells_apart(piece) + c % kCellsPerHalf;
            packets.cell[c] = Waiter::wait<kOrder, 32>(arguments, cell, flag, place);
        }
        return has_come(packets, flag);
    }

    // Data and flag are one access, so nothing needs to be ordered around it.
    static constexpr auto kOrder = cuda::memory_order_relaxed;

    static NVRAR_DEVICE const u64* cells_of(const u64* region, const Piece& piece) {
        return region + piece.place / kHalfBytes * kCellsPerHalf;
    }
    static NVRAR_DEVICE u32 cells_apart(const Piece& piece) {
        return piece.stride / kHalfBytes * kCellsPerHalf;
    }

    // Units of slices

    // Unit u of a slice is always the same thread's. False if `body` was, for a unit of this thread.
    template <typename Body>
    NVRAR_DEVICE bool for_own_pieces(const Window& window, Body body) const {
        return for_own_pieces(window, [](const Chunk& chunk) { return chunk; }, body);
    }

    // Of a part of each chunk alone: then a unit may be another thread's than in another part.
    template <typename Part, typename Body>
    NVRAR_DEVICE bool for_own_pieces(const Window& window, Part part, Body body) const {
        return for_own_chunks(arguments, window.slice, [&](const Chunk& whole) {
            const Chunk chunk = part(whole);
            NVRAR_ROLLED
            for (u32 u = thread_index(); u < units_of(chunk); u += thread_count())
                if (!body(piece_at(chunk, u))) return false;
            return true;
        });
    }

    // Units that fill no two rows are whole.
    NVRAR_DEVICE Piece piece_at(const Chunk& chunk, u32 u) const {
        const u32 row = u / kRowUnits * kRowUnits;
        const bool is_in_rows = row + kRowUnits <= chunk.bytes / kUnitBytes;
        const u32 first = is_in_rows ? row + u : 2 * u;
        return {chunk.index, first_unit(chunk) * kUnitBytes + first * kHalfBytes,
                is_in_rows ? kRowUnits * kHalfBytes : kHalfBytes, !chunk.bytes};
    }

    NVRAR_DEVICE u32 peer_at(u32 i) const { return around(local + i, group_size); }

    NVRAR_DEVICE u32 units_of(const Chunk& chunk) const {
        return chunk.bytes ? chunk.bytes / kUnitBytes : !chunk.is_absent;
    }
    // A region ends with an empty unit for each block of the largest launch.
    NVRAR_DEVICE u32 first_unit(const Chunk& chunk) const {
        return chunk.bytes ? chunk.begin / kUnitBytes
                           : layout.region_bytes / (kUnitBytes * kExpansion) - 1 - block;
    }

    // Where they lie

    static NVRAR_DEVICE u64* cells_at(u8* memory) { return reinterpret_cast<u64*>(memory); }

    NVRAR_DEVICE u64* node_region(const Window& window, u32 peer, u64 kind, u32 index) const {
        return cells_at(fabric.staging(node * group_size + peer) + region(window, kind, index));
    }
    NVRAR_DEVICE u64* own_region(const Window& window, u64 kind, u32 index) const {
        return cells_at(fabric.own_staging() + region(window, kind, index));
    }
};

}  // namespace nvrar
