// The cells of protocol `packet`: units of 8 bytes and their two cells, which unit is whose, and where
// cells lie in staging memory. Element types are not known here.
#pragma once

#include "standing.cuh"

namespace nvrar {

constexpr u32 kUnitBytes = 8;                // payload handled at a time: two cells
constexpr u32 kCellBytes = 8;                // one packet
constexpr u32 kExpansion = 2;                // bytes on the wire per byte of payload
constexpr u32 kCellsPerUnit = kUnitBytes * kExpansion / kCellBytes;

struct Words {
    u32 word[kCellsPerUnit];
};

struct Packets {
    u64 cell[kCellsPerUnit];
};

// Part of a chunk: a unit of the slice region, `bytes` of it real. A block without a unit in the slice
// has an empty one behind all others: it must tell and hear something in every window.
struct Piece {
    u32 chunk;
    u32 index;   // in the region
    u32 offset;  // bytes, within the slice: a window of packets is bounded
    int bytes;   // kNoPiece: there is no such unit
};

constexpr int kNoPiece = -1;

struct Cells : Standing {
    using Standing::Standing;

    // One unit

    template <typename Unit>
    NVRAR_DEVICE void write(u64* cells, const Window& window, const Piece& piece,
                            const Unit& unit) const {
        const Words words = same_bytes<Words>(unit);
        const u64 flag = static_cast<u64>(static_cast<u32>(window.epoch)) << 32;
        const u64 packets[kCellsPerUnit] = {flag | words.word[0], flag | words.word[1]};
        store_cells(cells + piece.index * kCellsPerUnit, packets);
    }

    template <typename Unit>
    NVRAR_DEVICE bool read(const u64* cells, const Window& window, const Piece& piece,
                           const Place& place, Unit& unit) const {
        const u64* at = cell(cells, piece, 0);
        return take(at, window, place, peek(at), unit);
    }

    static NVRAR_DEVICE Packets peek(const u64* at) {
        Packets seen;
        load_cells(at, seen.cell);
        return seen;
    }

    static NVRAR_DEVICE bool has_come(const Packets& seen, u64 flag) {
        bool all = true;
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) all &= seen.cell[c] >> 32 == flag;
        return all;
    }

    // The data of what was seen, or of what comes after it where a flag is not yet there.
    template <typename Unit>
    NVRAR_DEVICE bool take(const u64* at, const Window& window, const Place& place,
                           const Packets& seen, Unit& unit) const {
        const u64 flag = static_cast<u32>(window.epoch);
        Packets packets = seen;
        if (!has_come(packets, flag) && !await(at, flag, place, packets)) return false;
        Words words;
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) words.word[c] = static_cast<u32>(packets.cell[c]);
        unit = same_bytes<Unit>(words);
        return true;
    }

    NVRAR_DEVICE bool await(const u64* at, u64 flag, const Place& place, Packets& packets) const {
        bool all = true;
        NVRAR_UNROLL
        for (u32 c = 0; c < kCellsPerUnit; ++c) {
            const u64 packet = Waiter::wait<kOrder, 32>(arguments, at + c, flag, place);
            all &= packet >> 32 == flag;
            packets.cell[c] = packet;
        }
        return all;
    }

    // Data and flag are one access, so nothing needs to be ordered around it.
    static constexpr auto kOrder = cuda::memory_order_relaxed;

    static NVRAR_DEVICE const u64* cell(const u64* cells, const Piece& piece, u32 c) {
        return cells + piece.index * kCellsPerUnit + c;
    }

    // Units of slices

    // Unit u of a slice is always the same thread's. False if `body` was, for a unit of this thread.
    template <typename Body>
    NVRAR_DEVICE bool for_own_pieces(u32 slice_bytes, Body body) const {
        return for_own_pieces(slice_bytes, [](const Chunk& chunk) { return chunk; }, body);
    }

    // Of a part of each chunk alone: then a unit may be another thread's than in another part.
    template <typename Part, typename Body>
    NVRAR_DEVICE bool for_own_pieces(u32 slice_bytes, Part part, Body body) const {
        return for_own_chunks(arguments, slice_bytes, [&](const Chunk& whole) {
            const Chunk chunk = part(whole);
            NVRAR_ROLLED
            for (u32 u = thread_index(); u < units_of(chunk); u += thread_count())
                if (!body(piece_at(slice_bytes, chunk, u))) return false;
            return true;
        });
    }

    NVRAR_DEVICE Piece piece_at(u32 slice_bytes, const Chunk& chunk, u32 u) const {
        const u32 offset = chunk.begin + u * kUnitBytes;
        const u32 bytes = chunk.bytes ? smaller(kUnitBytes, slice_bytes - offset) : 0;
        return {static_cast<u32>(chunk.index), static_cast<u32>(first_unit(chunk) + u),
                static_cast<u32>(offset), static_cast<int>(bytes)};
    }

    NVRAR_DEVICE u32 peer_at(u32 i) const { return around(local + i, group_size); }

    // The piece of the longest slice, in the slice of the i-th peer from here.
    NVRAR_DEVICE Piece in_slice_of(const Window& window, u32 i, const Piece& longest) const {
        if (i >= group_size) return {0, 0, 0, kNoPiece};
        const u32 peer = peer_at(i);
        if (peer < window.full_slices) return longest;
        return in_short_slice(window.slice_bytes(peer), longest, arguments.chunk_bytes,
                              static_cast<u32>(block), empty_unit());
    }

    // There it may be a part, the empty unit of this block, or nothing. Out of line: few slices are short.
    static NVRAR_NOINLINE Piece in_short_slice(u32 slice_bytes, Piece piece, u32 chunk_bytes, u32 block,
                                               u32 empty_unit) {
        if (piece.offset < slice_bytes) {
            piece.bytes = static_cast<int>(smaller(kUnitBytes, slice_bytes - piece.offset));
            return piece;
        }
        const bool is_first = piece.bytes == 0 || piece.chunk * chunk_bytes == piece.offset;
        return {piece.chunk, empty_unit, 0, piece.chunk == block && is_first ? 0 : kNoPiece};
    }

    NVRAR_DEVICE u32 units_of(const Chunk& chunk) const {
        return chunk.bytes ? (chunk.bytes + kUnitBytes - 1) / kUnitBytes : !chunk.is_absent;
    }
    NVRAR_DEVICE u32 first_unit(const Chunk& chunk) const {
        return chunk.bytes ? chunk.begin / kUnitBytes : empty_unit();
    }
    // A region ends with one for each block of the largest launch.
    NVRAR_DEVICE u32 empty_unit() const {
        const u32 after_region = layout.region_bytes / (kUnitBytes * kExpansion);
        return static_cast<u32>(after_region - 1 - block);
    }

    // Where they lie

    NVRAR_DEVICE Place fold_place() const {
        return {kExchange, schedule.turns(), schedule.fold_partner() * group_size + local, 0};
    }
    static NVRAR_DEVICE u64* cells_at(u8* memory) { return reinterpret_cast<u64*>(memory); }

    NVRAR_DEVICE u64* node_region(const Window& window, u32 peer, u64 kind, u32 index) const {
        return cells_at(fabric.staging(node * group_size + peer) + region(window, kind, index));
    }
    NVRAR_DEVICE u64* own_region(const Window& window, u64 kind, u32 index) const {
        return cells_at(fabric.own_staging() + region(window, kind, index));
    }
};

}  // namespace nvrar
