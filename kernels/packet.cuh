// Protocol `packet`: every 8-byte cell holds 4 bytes of data and the 4-byte flag of its window, and is
// written and read by one 64-bit access, so nothing is fenced, reset or announced. It assumes that the
// transport keeps 8 aligned bytes whole.
//
// Ranks only ever write to each other's staging memory, so send and recv may be private.
#pragma once

#include "cells.cuh"
#include "span.cuh"

namespace nvrar {

template <typename T>
struct Unit {
    static constexpr int kElements = kUnitBytes / sizeof(T);
    T lane[kElements];
};
template <typename T>
struct alignas(align_lanes(alignof(T), kHalfBytes)) Half {
    T lane[kHalfBytes / sizeof(T)];
};

// Less than half a unit, out of line: it is rare. Behind the bytes of a message come zeros.
NVRAR_NOINLINE u64 load_bytes(const void* source, u32 bytes) {
    u64 whole = 0;
    NVRAR_ROLLED
    for (u32 b = 0; b < bytes; ++b)
        whole |= static_cast<u64>(static_cast<const u8*>(source)[b]) << (8 * b);
    return whole;
}
NVRAR_NOINLINE void store_bytes(void* target, u64 whole, u32 bytes) {
    NVRAR_ROLLED
    for (u32 b = 0; b < bytes; ++b) static_cast<u8*>(target)[b] = static_cast<u8>(whole >> (8 * b));
}

template <typename T, typename Op>
struct Packet : Cells {
    using Cells::Cells;

    NVRAR_DEVICE bool run() {
        return for_windows(arguments.count * sizeof(T),
                           [&](const Window& window) { return run_window(window); });
    }

   private:
    // A thread that gives up stays with its block until the end: all meet at every barrier.
    NVRAR_DEVICE bool run_window(const Window& window) {
        if constexpr (Fabric::kSendsMessages)
            expect_messages(window, window.slice,
                            [&](const Chunk& chunk) { return cells_of_chunk(chunk); });
        scatter(window);
        bool well = true;
        const u32 stages = count_stages();
        NVRAR_ROLLED
        for (u32 s = 0; s < stages; ++s) {
            const Stage stage = stage_at(window, s, s + 1 == stages);
            if constexpr (Fabric::kSendsMessages) well = well && await_messages(window, stage);
            well = well && combine(window, stage);
            well = depart(window, stage.turn, outgoing(window, stage), well);
        }
        well = gather(window, well);
        if constexpr (Fabric::kSendsMessages)
            well = well && (schedule.is_one_node() || await_all_puts(window));
        return block_all(well && all_gather(window));
    }

    // Phase 1: to every peer its slice, a batch of peers at a time.

    NVRAR_DEVICE void scatter(const Window& window) {
        for_own_pieces(window, [&](const Piece& piece) {
            NVRAR_ROLLED
            for (u32 first = 1; first < group_size; first += kBatch) {
                Unit<T> units[kBatch] = {};
                NVRAR_UNROLL
                for (u32 i = first; i < first + kBatch; ++i)
                    if (i < group_size) units[i - first] = load(window, peer_at(i), piece);
                NVRAR_UNROLL
                for (u32 i = first; i < first + kBatch; ++i)
                    if (i < group_size)
                        write(node_region(window, peer_at(i), layout.inbox, local), window, piece,
                              units[i - first]);
            }
            return true;
        });
    }

    // Phases 1 and 2 are stages: each combines one's own operand with what arrives, and sends the result
    // on. They are the node's inputs, what a folded node gave, and the steps between nodes.

    // Operands arrive in order, in regions that lie one behind the other, from peers that stand
    // `peer_stride` apart.
    struct Stage {
        const u64* cells;
        u32 operands;
        u32 own_index;
        bool is_dense;  // no region is left out for one's own
        u32 first_slot;  // of those that lie one behind the other
        Place first;    // the peer of operand 0
        u32 peer_stride;
        u32 level = 0;  // of its result
        bool is_final = false;
        u32 turn = 0;  // in which the result leaves; above all, where it does not

        NVRAR_DEVICE bool arrives(u32 i) const { return i < operands && i != own_index; }
    };

    NVRAR_DEVICE u32 count_stages() const {
        return schedule.is_folded() ? 1 : 1 + schedule.has_folded() + schedule.steps();
    }

    NVRAR_DEVICE Stage stage_at(const Window& window, u32 s, bool is_last) const {
        const u32 before_steps = 1 + schedule.has_folded();
        Stage stage = s >= before_steps ? step_stage(window, s - before_steps)
                      : s == 0          ? first_stage(window)
                                        : fold_stage(window);
        stage.level = s;
        stage.is_final = is_last && !schedule.is_folded();
        const bool leaves = s + 1 >= before_steps;
        stage.turn = leaves ? s + 1 - before_steps : schedule.turns() + 1;
        return stage;
    }

    NVRAR_DEVICE Stage first_stage(const Window& window) const {
        return {own_region(window, layout.inbox, 0), group_size, local, false, 0,
                Place(kReduceScatter, 0, node * group_size, 0), 1};
    }
    NVRAR_DEVICE Stage fold_stage(const Window& window) const {
        const Place partner{kExchange, schedule.turns(), schedule.fold_partner() * group_size + local, 0};
        return {own_region(window, layout.fold, 0), 2, 0, true, schedule.fold_slot(), partner, 0};
    }
    NVRAR_DEVICE Stage step_stage(const Window& window, u32 step) const {
        const Group group = schedule.group(step);
        const u32 slot = schedule.slot(step, group.radix, 0);
        return {own_region(window, layout.slots, slot), group.radix, group.digit, true, slot,
                Place(kExchange, step, group.first * group_size + local, 0),
                group.stride * group_size};
    }

    NVRAR_DEVICE const u64* operand_cells(const Stage& stage, u32 i, const Piece& piece) const {
        const u32 region = i - (stage.is_dense && i > stage.own_index ? 1 : 0);
        return cells_of(stage.cells + region * (layout.region_bytes / kCellBytes), piece);
    }

    // A message may land in pieces that cut a cell: none is looked at before all of it is there.
    NVRAR_DEVICE bool await_messages(const Window& window, const Stage& stage) const {
        for (u32 i = 0; i < stage.operands; ++i) {
            Place place = stage.first;
            place.peer += i * stage.peer_stride;
            const u32 slot = stage.first_slot + i - (i > stage.own_index ? 1 : 0);
            if (stage.arrives(i) && !await_messages_of(window, place, slot)) return false;
        }
        return true;
    }

    NVRAR_DEVICE bool await_messages_of(const Window& window, Place place, u32 slot) const {
        if (fabric.is_mapped(place.peer)) return true;
        return for_own_chunks(arguments, window.slice, [&](const Chunk& chunk) {
            place.chunk = chunk.index;
            return fabric.await_message(place, arrival_flag(window, slot, chunk.index), window.epoch);
        });
    }

    // One's own combined with what arrives. In halving the parts for one partner come after those for
    // another, and those for oneself last.
    NVRAR_DEVICE bool combine(const Window& window, const Stage& stage) {
        const bool is_cut =
            schedule.is_halving() && !schedule.is_folded() && stage.turn < schedule.steps();
        const Group group = is_cut ? schedule.group(stage.turn) : Group{1, 0, 0, 0};
        NVRAR_ROLLED
        for (u32 i = 1; i <= group.radix; ++i) {
            const u32 digit = is_cut ? around(group.digit + i, group.radix) : kAll;
            if (!combine_parts(window, stage, digit, i == group.radix)) return false;
        }
        return true;
    }

    NVRAR_DEVICE bool combine_parts(const Window& window, const Stage& stage, u32 digit, bool is_kept) {
        const bool is_final = stage.is_final;
        const auto part = [&](const Chunk& chunk) { return schedule.sent(chunk, stage.turn, digit); };
        return for_own_pieces(window, part, [&](const Piece& piece) {
            Accumulator<T> total[Unit<T>::kElements] = {};
            if (!accumulate(window, stage, piece, own_operand(window, stage, piece), total))
                return false;
            Unit<T> result;
            NVRAR_UNROLL
            for (int e = 0; e < Unit<T>::kElements; ++e)
                result.lane[e] = narrow<T>(is_final ? Op::finish(total[e], ranks()) : total[e]);
            if (is_final)
                deliver(window, piece, result);
            else if (is_kept && !(stage.level == 0 && group_size == 1))
                store(partial(window, stage.level, piece), piece, result);
            const u32 last = schedule.is_halving() && is_final ? schedule.turns() : stage.turn;
            if (pass_on(window, stage.turn, last, digit, piece, result))
                write(cells_at(fabric.own_staging() + outgoing(window, stage)), window, piece, result);
            return true;
        });
    }

    NVRAR_DEVICE Unit<T> own_operand(const Window& window, const Stage& stage,
                                     const Piece& piece) const {
        const bool is_input = stage.level == 0 || (stage.level == 1 && group_size == 1);
        return is_input ? load(window, local, piece) : load(partial(window, stage.level - 1, piece), piece);
    }

    NVRAR_DEVICE bool accumulate(const Window& window, const Stage& stage, const Piece& piece,
                                 const Unit<T>& own, Accumulator<T>* total) const {
        NVRAR_ROLLED
        for (u32 begin = 0; begin < stage.operands; begin += kBatch) {
            const auto at = [&](u32 i) { return operand_cells(stage, begin + i, piece); };
            const auto arrives = [&](u32 i) { return stage.arrives(begin + i); };
            Packets seen[kBatch];
            look(window, piece, seen, arrives, at);
            NVRAR_UNROLL
            for (u32 i = 0; i < kBatch; ++i) {
                if (begin + i >= stage.operands) continue;
                Unit<T> unit = own;
                Place place = stage.first;
                place.peer += (begin + i) * stage.peer_stride;
                place.chunk = piece.chunk;
                if (arrives(i) && !take(at(i), window, piece, place, seen[i], unit)) return false;
                NVRAR_UNROLL
                for (int e = 0; e < Unit<T>::kElements; ++e) {
                    const Accumulator<T> value = widen<T>(unit.lane[e]);
                    total[e] = begin + i == 0 ? value : Op::combine(total[e], value);
                }
            }
        }
        return true;
    }

    // A finished unit: to this rank's output and to all peers of the node.
    NVRAR_DEVICE void deliver(const Window& window, const Piece& piece, const Unit<T>& unit) {
        store(window, local, piece, unit);
        NVRAR_ROLLED
        for (u32 i = 1; i < group_size; ++i)
            write(node_region(window, peer_at(i), layout.outbox, local), window, piece, unit);
    }

    // Phase 2: what goes to other nodes. A result goes straight to ranks whose memory is mapped, by the
    // thread that made it, and to others by way of `outgoing`, when the whole block has written it.

    // A unit, to those that are mapped of all that get it in the turns `first` to `last`. True if there
    // are others.
    NVRAR_DEVICE bool pass_on(const Window& window, u32 first, u32 last, u32 digit, const Piece& piece,
                              const Unit<T>& unit) {
        bool is_outgoing = false;  // all that get it get the same packets
        NVRAR_ROLLED
        for (u32 turn = first; turn <= last; ++turn)
            for_takers(turn, [&](u32 rank, u32 slot, u32 taker) {
                if (digit != kAll && taker != digit) return;
                if (fabric.is_mapped(rank))
                    write(cells_at(fabric.staging(rank) + slot_region(window, slot)), window, piece,
                          unit);
                else
                    is_outgoing = true;
            });
        return is_outgoing;
    }

    // By the whole block, and so only if nothing has failed for any of its threads. In halving other threads
    // go on with what these have made.
    NVRAR_DEVICE bool depart(const Window& window, u32 turn, u64 source, bool well) {
        bool is_outgoing = false;
        for_takers(turn, [&](u32 rank, u32, u32) { is_outgoing |= !fabric.is_mapped(rank); });
        if (!is_outgoing && !schedule.is_halving()) return well;
        if (!block_all(well)) return false;
        for_takers(turn, [&](u32 rank, u32 slot, u32 digit) {
            if (fabric.is_mapped(rank)) return;
            for_own_chunks(arguments, window.slice, [&](const Chunk& chunk) {
                const Bounds cells = cells_of_chunk(schedule.sent(chunk, turn, digit));
                fabric.put(rank, slot_region(window, slot) + cells.begin,
                           fabric.own_staging() + source + cells.begin, cells.bytes);
                return true;
            });
        });
        return true;
    }

    // In a region, in bytes.
    NVRAR_DEVICE Bounds cells_of_chunk(const Chunk& chunk) const {
        constexpr u32 unit = kUnitBytes * kExpansion;
        return {first_unit(chunk) * unit, units_of(chunk) * unit};
    }

    // Packets to ranks that are not mapped: of finished units they lie where others' come.
    NVRAR_DEVICE u64 outgoing(const Window& window, const Stage& stage) const {
        return stage.is_final ? region(window, layout.unfold, 0)
                              : region(window, layout.outgoing, stage.level);
    }

    // What is finished elsewhere: the parts of others in halving, all of it for a folded node.
    NVRAR_DEVICE bool gather(const Window& window, bool well) {
        const bool is_folded = schedule.is_folded();
        const u32 end = schedule.turns() + is_folded;
        NVRAR_ROLLED
        for (u32 turn = is_folded ? schedule.turns() : schedule.steps(); turn < end; ++turn) {
            const Group group = is_folded ? schedule.fold() : schedule.group(turn);
            NVRAR_ROLLED
            for (u32 i = 1; well && i < group.radix; ++i)
                well = collect(window, turn, group, around(group.digit + i, group.radix));
            if (schedule.is_halving())
                well = depart(window, turn + 1, region(window, layout.unfold, 0), well);
        }
        return well;
    }

    NVRAR_DEVICE bool collect(const Window& window, u32 turn, const Group& group, u32 digit) {
        Place place{kExchange, turn, group.node(digit) * group_size + local, 0};
        if constexpr (Fabric::kSendsMessages) {
            const u32 slot = schedule.is_folded() ? schedule.unfold_slot()
                                                  : schedule.slot(turn, group.digit, digit);
            if (!await_messages_of(window, place, slot)) return false;
        }
        const auto part = [&](const Chunk& chunk) { return schedule.received(chunk, turn, digit); };
        const u64* region = own_region(window, layout.unfold, 0);
        return for_own_pieces(window, part, [&](const Piece& piece) {
            place.chunk = piece.chunk;
            const u64* at = cells_of(region, piece);
            Unit<T> unit;
            if (!take(at, window, piece, place, peek(at, piece), unit)) return false;
            deliver(window, piece, unit);
            if (schedule.is_halving())
                pass_on(window, turn + 1, schedule.turns(), kAll, piece, unit);
            return true;
        });
    }

    // Phase 3: from every peer its slice, a batch of peers at a time.

    NVRAR_DEVICE bool all_gather(const Window& window) {
        return for_own_pieces(window, [&](const Piece& piece) {
            NVRAR_ROLLED
            for (u32 first = 1; first < group_size; first += kBatch)
                if (!gather_batch(window, first, piece)) return false;
            return true;
        });
    }

    NVRAR_DEVICE bool gather_batch(const Window& window, u32 first, const Piece& piece) const {
        const u64* cells = cells_of(own_region(window, layout.outbox, 0), piece);
        const auto at = [&](u32 i) {
            return cells + peer_at(first + i) * (layout.region_bytes / kCellBytes);
        };
        const auto arrives = [&](u32 i) { return first + i < group_size; };
        Packets seen[kBatch];
        look(window, piece, seen, arrives, at);
        NVRAR_UNROLL
        for (u32 i = 0; i < kBatch; ++i) {
            if (!arrives(i)) continue;
            const u32 peer = peer_at(first + i);
            const Place place{kAllGather, 0, node * group_size + peer, piece.chunk};
            Unit<T> unit;
            if (!take(at(i), window, piece, place, seen[i], unit)) return false;
            store(window, peer, piece, unit);
        }
        return true;
    }

    // Arrivals: the cells of units that are looked at and waited for side by side.

    // One-byte floats take more registers to accumulate.
    static constexpr bool kIsWide = sizeof(T) == 1 && Accumulated<T>::is_wider;
    static constexpr u32 kBatch = kIsWide && kInFlight > 1 ? kInFlight / 2 : kInFlight;

    // Sees what has come of those that arrive(i), at(i); `take` waits on for what does not come soon.
    template <typename Arrives, typename At>
    NVRAR_DEVICE void look(const Window& window, const Piece& piece, Packets* seen, Arrives arrives,
                           At at) const {
        NVRAR_UNROLL
        for (u32 i = 0; i < kBatch; ++i)
            if (arrives(i)) seen[i] = peek(at(i), piece);
        if constexpr (kBatch == 1 || !kWaitsForBatches) return;
        const u32 flag = static_cast<u32>(window.epoch);
        const u32 spin = arguments.spin;
        bool is_missing = true;
        NVRAR_ROLLED
        for (u32 turn = 0; is_missing && turn < spin; ++turn) {
            is_missing = false;
            NVRAR_UNROLL
            for (u32 i = 0; i < kBatch; ++i) {
                if (!arrives(i) || has_come(seen[i], flag)) continue;
                is_missing = true;
                relax();
                seen[i] = peek(at(i), piece);
            }
        }
    }

    // User memory: the last half of a message may be short, and behind it there is none.

    NVRAR_DEVICE Unit<T> load(const Window& window, u32 slice, const Piece& piece) const {
        const u32 begin = slice * window.slice + piece.place;
        const u8* source = static_cast<const u8*>(arguments.send) + window.first + begin;
        if (is_whole(window, begin, piece)) return load(source, piece);
        return load(source, piece, bytes_from(window, begin, piece),
                    bytes_from(window, begin + piece.stride, piece));
    }
    NVRAR_DEVICE void store(const Window& window, u32 slice, const Piece& piece,
                            const Unit<T>& unit) const {
        const u32 begin = slice * window.slice + piece.place;
        u8* target = static_cast<u8*>(arguments.recv) + window.first + begin;
        if (is_whole(window, begin, piece))
            store(target, piece, unit);
        else
            store(target, piece, unit, bytes_from(window, begin, piece),
                  bytes_from(window, begin + piece.stride, piece));
    }

    static NVRAR_DEVICE bool is_whole(const Window& window, u32 begin, const Piece& piece) {
        return begin + piece.stride + kHalfBytes <= window.bytes && !piece.is_empty;
    }
    static NVRAR_DEVICE u32 bytes_from(const Window& window, u32 begin, const Piece& piece) {
        return begin < window.bytes && !piece.is_empty ? smaller(kHalfBytes, window.bytes - begin) : 0;
    }

    // `first` and `second` bytes of the halves are there.
    static NVRAR_DEVICE Unit<T> load(const u8* source, const Piece& piece, u32 first = kHalfBytes,
                                     u32 second = kHalfBytes) {
        return same_bytes<Unit<T>>(
            Halves{{load_half(source, first), load_half(source + piece.stride, second)}});
    }
    static NVRAR_DEVICE void store(u8* target, const Piece& piece, const Unit<T>& unit,
                                   u32 first = kHalfBytes, u32 second = kHalfBytes) {
        const Halves halves = same_bytes<Halves>(unit);
        store_half(target, halves.half[0], first);
        store_half(target + piece.stride, halves.half[1], second);
    }

    struct Halves {
        Half<T> half[2];
    };
    static NVRAR_DEVICE Half<T> load_half(const u8* source, u32 bytes) {
        note_read(source, bytes);
        if (bytes == kHalfBytes) return *reinterpret_cast<const Half<T>*>(global(source));
        return same_bytes<Half<T>>(load_bytes(source, bytes));
    }
    static NVRAR_DEVICE void store_half(u8* target, const Half<T>& half, u32 bytes) {
        note_write(target, bytes);
        if (bytes == kHalfBytes)
            *reinterpret_cast<Half<T>*>(global(target)) = half;
        else
            store_bytes(target, same_bytes<u64>(half), bytes);
    }

    // Empty units have a place of their own there.
    NVRAR_DEVICE u8* partial(const Window& window, u32 level, const Piece& piece) const {
        return fabric.own_staging() + region(window, layout.partials, level) + piece.place;
    }
};

}  // namespace nvrar
