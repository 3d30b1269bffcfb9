// Protocol `packet`: every 8-byte cell holds 4 bytes of data and the 4-byte flag of its window, and is
// written and read by one 64-bit access, so nothing is fenced, reset or announced. It assumes that the
// transport keeps 8 aligned bytes whole.
//
// Ranks only ever write to each other's staging memory, so send and recv may be private.
#pragma once

#include "span.cuh"
#include "standing.cuh"

namespace nvrar {

constexpr u64 kUnitBytes = 8;                // payload handled at a time: two cells
constexpr u64 kCellBytes = 8;                // one packet
constexpr u64 kExpansion = 2;                // bytes on the wire per byte of payload
constexpr u64 kCellsPerUnit = kUnitBytes * kExpansion / kCellBytes;

template <typename T>
struct alignas(kVectorAlignment < 8 ? static_cast<int>(alignof(T)) : 8) Unit {
    static constexpr int kElements = kUnitBytes / sizeof(T);
    T lane[kElements];
};

struct Words {
    u32 word[kCellsPerUnit];
};

struct Packets {
    u64 cell[kCellsPerUnit];
};

// Part of a chunk: unit `index` of the slice region, `elements` of it real. A block without a unit in
// the slice has an empty one behind all others: it must tell and hear something in every window.
struct Piece {
    u64 index;
    u64 offset;  // bytes, within the slice
    int elements;
};

template <typename T, typename Op>
struct Packet : Standing {
    using Standing::Standing;

    NVRAR_DEVICE bool run() {
        return for_windows(arguments.count * sizeof(T), arguments.window_bytes,
                           [&](const Window& window) { return run_window(window); });
    }

   private:
    // A thread that gives up stays with its block until the end: all meet at every barrier.
    NVRAR_DEVICE bool run_window(const Window& window) {
        scatter(window);
        const bool is_reduced = exchange(window, reduce_slice(window));
        return block_all(is_reduced && all_gather(window));
    }

    // Phase 1

    NVRAR_DEVICE void scatter(const Window& window) {
        for_pieces_of_peers(window, [&](u64 peer, const Piece& piece) {
            write(node_region(window, peer, layout.inbox, local), window, piece,
                  load(send_at(window, peer, piece), piece));
            return true;
        });
    }

    NVRAR_DEVICE bool reduce_slice(const Window& window) {
        const Incoming incoming{own_region(window, layout.inbox, 0), group_size, local, false,
                                Place{kReduceScatter, 0, node * group_size, 0}, 1};
        return combine(window, incoming, kInput, 0, arguments.nodes == 1);
    }

    // Phase 2

    // `well`: nothing has failed for this thread so far.
    NVRAR_DEVICE bool exchange(const Window& window, bool well) {
        if (arguments.nodes == 1) return well;
        bool is_outgoing = false;
        if (schedule.is_folded()) {
            well = send(window, schedule.fold_partner(), schedule.fold_slot(), 0, is_outgoing, well);
            return well && take_from_fold(window);
        }
        u64 level = 0;
        if (schedule.has_folded()) {
            const Incoming incoming{own_region(window, layout.fold, 0), 2, 0, true, fold_place(), 0};
            well = well && combine(window, incoming, level, level + 1, false);
            ++level;
        }
        NVRAR_ROLLED
        for (u64 step = 0; step < schedule.steps(); ++step, ++level)
            well = send_step(window, step, level, well) && combine_step(window, step, level);
        return schedule.has_folded() ? give_back(window, level, well) : well;
    }

    NVRAR_DEVICE bool send_step(const Window& window, u64 step, u64 level, bool well) {
        const Group group = schedule.group(step);
        bool is_outgoing = false;
        NVRAR_ROLLED
        for (u64 i = 1; i < group.radix; ++i) {
            const u64 digit = around(group.digit + i, group.radix);
            well = send(window, group.node(digit), schedule.slot(step, digit, group.digit), level,
                        is_outgoing, well);
        }
        return well;
    }

    NVRAR_DEVICE bool combine_step(const Window& window, u64 step, u64 level) {
        const Group group = schedule.group(step);
        const u64 first_slot = schedule.slot(step, group.radix, 0);
        const Incoming incoming{own_region(window, layout.slots, first_slot), group.radix,
                                group.digit, true,
                                Place{kExchange, step, group.first * group_size + local, 0},
                                group.stride * group_size};
        return combine(window, incoming, level, level + 1, step + 1 == schedule.steps());
    }

    NVRAR_DEVICE bool take_from_fold(const Window& window) {
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk&, const Piece& piece) {
            Unit<T> unit;
            if (!read(own_region(window, layout.unfold, 0), window, piece, fold_place(), unit))
                return false;
            deliver(window, piece, unit);
            return true;
        });
    }

    // The partial result of `level` to one partner; all partners of a step get the same packets.
    NVRAR_DEVICE bool send(const Window& window, u64 to_node, u64 slot, u64 level,
                           bool& is_outgoing, bool well) {
        return put(window, to_node, slot, level, is_outgoing, well, [&](const Piece& piece) {
            return load(partial_at(window, level, piece), piece);
        });
    }

    NVRAR_DEVICE bool give_back(const Window& window, u64 level, bool well) {
        bool is_outgoing = false;
        return put(window, schedule.fold_partner(), schedule.unfold_slot(), level, is_outgoing, well,
                   [&](const Piece& piece) {
                       return load(recv_at(window, local, piece), piece);
                   });
    }

    // Packets go straight to a rank whose memory is mapped, and else by way of `outgoing`, which the
    // first of a level's partners that needs it fills for all.
    template <typename Take>
    NVRAR_DEVICE bool put(const Window& window, u64 to_node, u64 slot, u64 level, bool& is_outgoing,
                          bool well, Take take) {
        const u64 rank = to_node * group_size + local;
        const u64 target = region(window, layout.slots, slot);
        const bool is_mapped = fabric.is_mapped(rank);
        const u64 source = region(window, layout.outgoing, level);
        u64* cells = reinterpret_cast<u64*>(is_mapped ? fabric.staging(rank) + target
                                                      : fabric.staging(arguments.rank) + source);
        if (well && (is_mapped || !is_outgoing))
            for_own_pieces(window.slice_bytes(local), [&](const Chunk&, const Piece& piece) {
                write(cells, window, piece, take(piece));
                return true;
            });
        return is_mapped ? well : put_outgoing(window, rank, target, source, is_outgoing, well);
    }

    // By the whole block, and so only if nothing has failed for any of its threads.
    NVRAR_DEVICE bool put_outgoing(const Window& window, u64 rank, u64 target, u64 source,
                                   bool& is_outgoing, bool well) {
        is_outgoing = true;
        if (!block_all(well)) return false;
        return for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            const u64 first = first_unit(chunk) * kUnitBytes * kExpansion;
            const u64 bytes = units_of(chunk) * kUnitBytes * kExpansion;
            fabric.put(rank, target + first, fabric.staging(arguments.rank) + source + first, bytes);
            return true;
        });
    }

    // Phase 3

    NVRAR_DEVICE bool all_gather(const Window& window) {
        return for_pieces_of_peers(window, [&](u64 peer, const Piece& piece) {
            Unit<T> unit;
            const Place place{kAllGather, 0, node * group_size + peer, 0};
            if (!read(own_region(window, layout.outbox, peer), window, piece, place, unit))
                return false;
            store(recv_at(window, peer, piece), piece, unit);
            return true;
        });
    }

    // One-byte floats take more registers to accumulate.
    static constexpr bool kIsWide = Unit<T>::kElements > 4 && Accumulated<T>::is_wider;
    static constexpr int kBatch = kIsWide && kInFlight > 1 ? kInFlight / 2 : kInFlight;

    static constexpr u64 kInput = ~u64{0};  // in place of a level: the call's own input

    // The operands of one combination, in order: one's own, and those that arrive in regions that lie
    // one behind the other, from peers that stand `peer_stride` apart.
    struct Incoming {
        const u64* cells;
        u64 operands;
        u64 own_index;
        bool is_dense;  // no region is left out for one's own
        Place first;    // the peer of operand 0
        u64 peer_stride;

        NVRAR_DEVICE bool arrives(u64 i) const { return i < operands && i != own_index; }
    };

    NVRAR_DEVICE const u64* cells_of(const Incoming& incoming, u64 i) const {
        const u64 index = i - (incoming.is_dense && i > incoming.own_index ? 1 : 0);
        return incoming.cells + index * (layout.region_bytes / kCellBytes);
    }

    // own combined with what arrives -> the next level, or to everybody. Out of line: it is long, and
    // runs once for a phase or step.
    NVRAR_DEVICE bool combine(const Window& window, const Incoming& incoming, u64 own_level,
                                u64 level, bool is_final) {
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk&, const Piece& piece) {
            const T* own = own_level == kInput ? send_at(window, local, piece)
                                               : partial_at(window, own_level, piece);
            Accumulator<T> total[Unit<T>::kElements] = {};
            if (!accumulate(window, incoming, piece, load(own, piece), total)) return false;
            Unit<T> result;
            NVRAR_UNROLL
            for (int e = 0; e < Unit<T>::kElements; ++e)
                result.lane[e] = narrow<T>(is_final ? Op::finish(total[e], ranks()) : total[e]);
            if (is_final)
                deliver(window, piece, result);
            else
                store(staged_partial(window, level, piece), piece, result);
            return true;
        });
    }

    // The packets of a batch are looked at and waited for side by side; `take` waits on for those that
    // do not come soon.
    NVRAR_DEVICE bool accumulate(const Window& window, const Incoming& incoming, const Piece& piece,
                                 const Unit<T>& own, Accumulator<T>* total) const {
        NVRAR_ROLLED
        for (u64 begin = 0; begin < incoming.operands; begin += kBatch) {
            Packets seen[kBatch];
            NVRAR_UNROLL
            for (int i = 0; i < kBatch; ++i)
                if (incoming.arrives(begin + i))
                    seen[i] = peek(cells_of(incoming, begin + i), piece);
            if constexpr (kBatch > 1 && kWaitsForBatches)
                await_batch(window, incoming, begin, piece, seen);
            NVRAR_UNROLL
            for (int i = 0; i < kBatch; ++i) {
                if (begin + i >= incoming.operands) continue;
                Unit<T> unit = own;
                Place place = incoming.first;
                place.peer += (begin + i) * incoming.peer_stride;
                if (begin + i != incoming.own_index &&
                    !take(cells_of(incoming, begin + i), window, piece, place, seen[i], unit))
                    return false;
                NVRAR_UNROLL
                for (int e = 0; e < Unit<T>::kElements; ++e) {
                    const Accumulator<T> value = widen<T>(unit.lane[e]);
                    total[e] = begin + i == 0 ? value : Op::combine(total[e], value);
                }
            }
        }
        return true;
    }

    NVRAR_DEVICE void await_batch(const Window& window, const Incoming& incoming, u64 begin,
                                  const Piece& piece, Packets* seen) const {
        const u64 flag = static_cast<u32>(window.epoch);
        const u64 spin = arguments.spin;
        bool is_missing = true;
        NVRAR_ROLLED
        for (u64 turn = 0; is_missing && turn < spin; ++turn) {
            is_missing = false;
            NVRAR_UNROLL
            for (int i = 0; i < kBatch; ++i) {
                if (!incoming.arrives(begin + i) || has_come(seen[i], flag)) continue;
                is_missing = true;
                relax();
                seen[i] = peek(cells_of(incoming, begin + i), piece);
            }
        }
    }

    // A finished unit: to this rank's output and to all peers of the node.
    NVRAR_DEVICE void deliver(const Window& window, const Piece& piece, const Unit<T>& unit) {
        store(recv_at(window, local, piece), piece, unit);
        NVRAR_ROLLED
        for (u64 i = 1; i < group_size; ++i) {
            const u64 peer = around(local + i, group_size);
            write(node_region(window, peer, layout.outbox, local), window, piece, unit);
        }
    }

    // Cells

    NVRAR_DEVICE void write(u64* cells, const Window& window, const Piece& piece,
                            const Unit<T>& unit) const {
        const Words words = same_bytes<Words>(unit);
        const u64 flag = static_cast<u64>(static_cast<u32>(window.epoch)) << 32;
        const u64 packets[kCellsPerUnit] = {flag | words.word[0], flag | words.word[1]};
        store_cells(cells + piece.index * kCellsPerUnit, packets);
    }

    NVRAR_DEVICE bool read(const u64* cells, const Window& window, const Piece& piece,
                           const Place& place, Unit<T>& unit) const {
        return take(cells, window, piece, place, peek(cells, piece), unit);
    }

    NVRAR_DEVICE Packets peek(const u64* cells, const Piece& piece) const {
        Packets seen;
        load_cells(cell(cells, piece, 0), seen.cell);
        return seen;
    }

    static NVRAR_DEVICE bool has_come(const Packets& seen, u64 flag) {
        bool all = true;
        NVRAR_UNROLL
        for (u64 c = 0; c < kCellsPerUnit; ++c) all &= seen.cell[c] >> 32 == flag;
        return all;
    }

    // The data of `seen`, or of what comes after it where a flag is not yet there.
    NVRAR_DEVICE bool take(const u64* cells, const Window& window, const Piece& piece, Place place,
                           const Packets& seen, Unit<T>& unit) const {
        const u64 flag = static_cast<u32>(window.epoch);
        Words words;
        NVRAR_UNROLL
        for (u64 c = 0; c < kCellsPerUnit; ++c) {
            u64 packet = seen.cell[c];
            if (packet >> 32 != flag) {
                place.chunk = piece.offset / arguments.chunk_bytes;
                packet = Waiter::wait<kOrder, 32>(arguments, cell(cells, piece, c), flag, place);
                if (packet >> 32 != flag) return false;
            }
            words.word[c] = static_cast<u32>(packet);
        }
        unit = same_bytes<Unit<T>>(words);
        return true;
    }

    // Data and flag are one access, so nothing needs to be ordered around it.
    static constexpr auto kOrder = cuda::memory_order_relaxed;

    static NVRAR_DEVICE const u64* cell(const u64* cells, const Piece& piece, u64 c) {
        return cells + piece.index * kCellsPerUnit + c;
    }

    // User memory and partial results: the last unit of a slice may be short.

    NVRAR_DEVICE Unit<T> load(const T* source, const Piece& piece) const {
        note_read(source, piece.elements * sizeof(T));
        if (piece.elements == Unit<T>::kElements) return *reinterpret_cast<const Unit<T>*>(source);
        const u8* bytes = reinterpret_cast<const u8*>(source);
        u64 whole = 0;
        NVRAR_ROLLED
        for (int b = 0; b < piece.elements * static_cast<int>(sizeof(T)); ++b)
            whole |= static_cast<u64>(bytes[b]) << (8 * b);
        return same_bytes<Unit<T>>(whole);
    }
    NVRAR_DEVICE void store(T* target, const Piece& piece, const Unit<T>& unit) const {
        note_write(target, piece.elements * sizeof(T));
        if (piece.elements == Unit<T>::kElements) {
            *reinterpret_cast<Unit<T>*>(target) = unit;
            return;
        }
        u8* bytes = reinterpret_cast<u8*>(target);
        const u64 whole = same_bytes<u64>(unit);
        NVRAR_ROLLED
        for (int b = 0; b < piece.elements * static_cast<int>(sizeof(T)); ++b)
            bytes[b] = static_cast<u8>(whole >> (8 * b));
    }

    // Unit u of a slice is always the same thread's. False if `body` was, for a unit of this thread.
    template <typename Body>
    NVRAR_DEVICE bool for_own_pieces(u64 slice_bytes, Body body) const {
        return for_own_chunks(arguments, slice_bytes, [&](const Chunk& chunk) {
            NVRAR_ROLLED
            for (u64 u = thread_index(); u < units_of(chunk); u += thread_count())
                if (!body(chunk, piece_at(slice_bytes, chunk, u))) return false;
            return true;
        });
    }

    // The units of all slices but one's own, spread over the threads as one list: a thread has few of
    // them one after the other, and each is as far as a peer.
    template <typename Body>
    NVRAR_DEVICE bool for_pieces_of_peers(const Window& window, Body body) const {
        const u64 longest = window.slice_bytes(0);
        return for_own_chunks(arguments, longest, [&](const Chunk& longest_chunk) {
            const u64 units = units_of(longest_chunk);
            u64 u = thread_index();
            NVRAR_ROLLED
            for (u64 i = 1; i < group_size;) {
                if (u >= units) {
                    u -= units;
                    ++i;
                    continue;
                }
                const u64 peer = around(local + i, group_size);
                if (!body_at(window, peer, longest_chunk.index, u, body)) return false;
                u += thread_count();
            }
            return true;
        });
    }

    // Unit u of chunk c of a peer's slice, if that has one: the last slices are short.
    template <typename Body>
    NVRAR_DEVICE bool body_at(const Window& window, u64 peer, u64 c, u64 u, Body& body) const {
        const u64 slice_bytes = window.slice_bytes(peer);
        if (c >= chunks_of(arguments, slice_bytes)) return true;
        const Chunk chunk = chunk_at(arguments, slice_bytes, c);
        return u >= units_of(chunk) || body(peer, piece_at(slice_bytes, chunk, u));
    }

    NVRAR_DEVICE Piece piece_at(u64 slice_bytes, const Chunk& chunk, u64 u) const {
        const u64 offset = chunk.begin + u * kUnitBytes;
        const u64 bytes = chunk.bytes ? smaller(kUnitBytes, slice_bytes - offset) : 0;
        return {first_unit(chunk) + u, offset, static_cast<int>(bytes / sizeof(T))};
    }

    NVRAR_DEVICE u64 units_of(const Chunk& chunk) const {
        return chunk.bytes ? (chunk.bytes + kUnitBytes - 1) / kUnitBytes : 1;
    }
    // An empty chunk's unit: a region ends with one for each block of the largest launch.
    NVRAR_DEVICE u64 first_unit(const Chunk& chunk) const {
        const u64 after_region = layout.region_bytes / (kUnitBytes * kExpansion);
        return chunk.bytes ? chunk.begin / kUnitBytes : after_region - 1 - block;
    }

    // Where things lie

    NVRAR_DEVICE Place fold_place() const {
        return {kExchange, schedule.steps(), schedule.fold_partner() * group_size + local, 0};
    }
    NVRAR_DEVICE u64* node_region(const Window& window, u64 peer, u64 kind, u64 index) const {
        return reinterpret_cast<u64*>(fabric.staging(node * group_size + peer) +
                                      region(window, kind, index));
    }
    NVRAR_DEVICE u64* own_region(const Window& window, u64 kind, u64 index) const {
        return node_region(window, local, kind, index);
    }
    NVRAR_DEVICE const T* send_at(const Window& window, u64 slice, const Piece& piece) const {
        return reinterpret_cast<const T*>(static_cast<const u8*>(arguments.send) +
                                          in_message(window, slice, piece.offset));
    }
    NVRAR_DEVICE T* recv_at(const Window& window, u64 slice, const Piece& piece) const {
        return reinterpret_cast<T*>(static_cast<u8*>(arguments.recv) +
                                    in_message(window, slice, piece.offset));
    }
    NVRAR_DEVICE T* staged_partial(const Window& window, u64 level, const Piece& piece) const {
        return reinterpret_cast<T*>(
            reinterpret_cast<u8*>(own_region(window, layout.partials, level)) + piece.offset);
    }
    NVRAR_DEVICE const T* partial_at(const Window& window, u64 level, const Piece& piece) const {
        if (level == 0 && group_size == 1) return send_at(window, local, piece);
        return staged_partial(window, level, piece);
    }
};

}  // namespace nvrar
