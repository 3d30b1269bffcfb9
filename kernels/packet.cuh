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
struct Unit {
    static constexpr int kElements = kUnitBytes / sizeof(T);
    T lane[kElements];
};

struct Words {
    u32 word[kCellsPerUnit];
};

using Cell = cuda::atomic_ref<u64, cuda::thread_scope_system>;

// Part of a chunk: unit `index` of the slice region, `elements` of it real.
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
    NVRAR_DEVICE bool run_window(const Window& window) {
        scatter(window);
        return reduce_slice(window) && exchange(window) && all_gather(window);
    }

    // Phase 1

    NVRAR_DEVICE void scatter(const Window& window) {
        for (u64 i = 1; i < group_size; ++i) {
            const u64 peer = (local + i) % group_size;
            u64* inbox = node_region(window, peer, layout.inbox, local);
            for_own_pieces(window.slice_bytes(peer), [&](const Chunk&, const Piece& piece) {
                write(inbox, window, piece, load(send_at(window, peer, piece), piece));
                return true;
            });
        }
    }

    NVRAR_DEVICE bool reduce_slice(const Window& window) {
        const bool is_final = arguments.nodes == 1;
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk& chunk, const Piece& piece) {
            const Unit<T> own = load(send_at(window, local, piece), piece);
            return combine(
                window, piece, group_size, local, own, is_final, 0,
                [&](u64 g, Unit<T>& unit) {
                    const Place place{kReduceScatter, 0, node * group_size + g, chunk.index};
                    return read(own_region(window, layout.inbox, g), window, piece, place, unit);
                });
        });
    }

    // Phase 2

    NVRAR_DEVICE bool exchange(const Window& window) {
        if (arguments.nodes == 1) return true;
        if (schedule.is_folded()) {
            send(window, schedule.fold_partner(), schedule.fold_slot(), 0);
            return take_from_fold(window);
        }
        u64 level = 0;
        if (schedule.has_folded() && !combine_fold(window, level++)) return false;
        for (u64 step = 0; step < schedule.steps(); ++step, ++level) {
            const Group group = schedule.group(step);
            for (u64 i = 1; i < group.radix; ++i) {
                const u64 digit = (group.digit + i) % group.radix;
                send(window, group.node(digit), schedule.slot(step, digit, group.digit), level);
            }
            if (!combine_step(window, step, level)) return false;
        }
        return true;
    }

    NVRAR_DEVICE bool combine_step(const Window& window, u64 step, u64 level) {
        const Group group = schedule.group(step);
        const bool is_final = step + 1 == schedule.steps();
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk& chunk, const Piece& piece) {
            const Unit<T> own = load(partial_at(window, level, piece), piece);
            return combine(
                window, piece, group.radix, group.digit, own, is_final, level + 1,
                [&](u64 digit, Unit<T>& unit) {
                    const u64 slot = schedule.slot(step, group.digit, digit);
                    const Place place{kExchange, step, group.node(digit) * group_size + local,
                                      chunk.index};
                    return read(own_region(window, layout.slots, slot), window, piece, place, unit);
                });
        });
    }

    NVRAR_DEVICE bool combine_fold(const Window& window, u64 level) {
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk& chunk, const Piece& piece) {
            const Unit<T> own = load(partial_at(window, level, piece), piece);
            return combine(window, piece, 2, 0, own, false, level + 1,
                           [&](u64, Unit<T>& unit) {
                               return read(own_region(window, layout.fold, 0), window, piece,
                                           fold_place(chunk), unit);
                           });
        });
    }

    NVRAR_DEVICE bool take_from_fold(const Window& window) {
        return for_own_pieces(window.slice_bytes(local), [&](const Chunk& chunk, const Piece& piece) {
            Unit<T> unit;
            if (!read(own_region(window, layout.unfold, 0), window, piece, fold_place(chunk), unit))
                return false;
            deliver(window, piece, unit);
            return true;
        });
    }

    NVRAR_DEVICE void send(const Window& window, u64 to_node, u64 slot, u64 level) {
        const u64 rank = to_node * group_size + local;
        const u64 offset = region(window, layout.slots, slot);
        u64* outbox = fabric.packet_outbox(rank, offset, level);
        for_own_pieces(window.slice_bytes(local), [&](const Chunk&, const Piece& piece) {
            write(outbox, window, piece, load(partial_at(window, level, piece), piece));
            return true;
        });
        fabric.put_packets(rank, offset, window.slice_bytes(local) * kExpansion, level);
    }

    // Phase 3

    NVRAR_DEVICE bool all_gather(const Window& window) {
        for (u64 i = 1; i < group_size; ++i) {
            const u64 peer = (local + i) % group_size;
            const u64* outbox = own_region(window, layout.outbox, peer);
            const auto fetch = [&](const Chunk& chunk, const Piece& piece) {
                Unit<T> unit;
                const Place place{kAllGather, 0, node * group_size + peer, chunk.index};
                if (!read(outbox, window, piece, place, unit)) return false;
                store(recv_at(window, peer, piece), piece, unit);
                return true;
            };
            if (!for_own_pieces(window.slice_bytes(peer), fetch)) return false;
        }
        return true;
    }

    // One unit: operands in order, own among them; the result goes to the next level or to everybody.
    template <typename Receive>
    NVRAR_DEVICE bool combine(const Window& window, const Piece& piece, u64 operands, u64 own_index,
                              const Unit<T>& own, bool is_final, u64 level, Receive receive) {
        Accumulator<T> total[Unit<T>::kElements] = {};
        for (u64 i = 0; i < operands; ++i) {
            Unit<T> unit = own;
            if (i != own_index && !receive(i, unit)) return false;
            NVRAR_UNROLL
            for (int e = 0; e < Unit<T>::kElements; ++e) {
                const Accumulator<T> value = widen<T>(unit.lane[e]);
                total[e] = i == 0 ? value : Op::combine(total[e], value);
            }
        }
        Unit<T> result;
        NVRAR_UNROLL
        for (int e = 0; e < Unit<T>::kElements; ++e)
            result.lane[e] = narrow<T>(is_final ? Op::finish(total[e], ranks()) : total[e]);
        if (is_final)
            deliver(window, piece, result);
        else
            store(staged_partial(window, level, piece), piece, result);
        return true;
    }

    // A finished unit: to this rank's output, to all peers of the node, and to the folded node.
    NVRAR_DEVICE void deliver(const Window& window, const Piece& piece, const Unit<T>& unit) {
        store(recv_at(window, local, piece), piece, unit);
        for (u64 i = 1; i < group_size; ++i) {
            const u64 peer = (local + i) % group_size;
            write(node_region(window, peer, layout.outbox, local), window, piece, unit);
        }
        if (arguments.nodes == 1 || schedule.is_folded() || !schedule.has_folded()) return;
        const u64 rank = schedule.fold_partner() * group_size + local;
        const u64 offset = region(window, layout.unfold, 0);
        write(fabric.packet_outbox(rank, offset, 0), window, piece, unit);
    }

    // Cells

    NVRAR_DEVICE void write(u64* cells, const Window& window, const Piece& piece,
                            const Unit<T>& unit) const {
        const Words words = same_bytes<Words>(unit);
        const u64 flag = static_cast<u64>(static_cast<u32>(window.epoch)) << 32;
        NVRAR_UNROLL
        for (u64 c = 0; c < kCellsPerUnit; ++c)
            Cell(cells[piece.index * kCellsPerUnit + c])
                .store(flag | words.word[c], cuda::memory_order_relaxed);
    }

    NVRAR_DEVICE bool read(const u64* cells, const Window& window, const Piece& piece,
                           const Place& place, Unit<T>& unit) const {
        const u32 flag = static_cast<u32>(window.epoch);
        Words words;
        NVRAR_UNROLL
        for (u64 c = 0; c < kCellsPerUnit; ++c) {
            Cell cell(const_cast<u64&>(cells[piece.index * kCellsPerUnit + c]));
            u64 packet = 0;
            const auto poll = [&] {
                packet = cell.load(cuda::memory_order_relaxed);
                return packet >> 32;
            };
            if (!waiter.wait(place, flag, poll, [&](u64 seen) { return seen == flag; })) return false;
            words.word[c] = static_cast<u32>(packet);
        }
        unit = same_bytes<Unit<T>>(words);
        return true;
    }

    // User memory and partial results: the last unit of a slice may be short.

    NVRAR_DEVICE Unit<T> load(const T* source, const Piece& piece) const {
        Unit<T> unit{};
        NVRAR_UNROLL
        for (int e = 0; e < Unit<T>::kElements; ++e)
            if (e < piece.elements) unit.lane[e] = source[e];
        return unit;
    }
    NVRAR_DEVICE void store(T* target, const Piece& piece, const Unit<T>& unit) const {
        NVRAR_UNROLL
        for (int e = 0; e < Unit<T>::kElements; ++e)
            if (e < piece.elements) target[e] = unit.lane[e];
    }

    template <typename Body>
    NVRAR_DEVICE bool for_own_pieces(u64 slice_bytes, Body body) const {
        const auto pieces = [&](const Chunk& chunk) {
            const u64 units = (chunk.bytes + kUnitBytes - 1) / kUnitBytes;
            for (u64 u = thread_index(); u < units; u += thread_count()) {
                const u64 offset = chunk.begin + u * kUnitBytes;
                const u64 bytes = smaller(kUnitBytes, slice_bytes - offset);
                const Piece piece{offset / kUnitBytes, offset, static_cast<int>(bytes / sizeof(T))};
                if (!body(chunk, piece)) return false;
            }
            return true;
        };
        return block_all(for_own_chunks(arguments, slice_bytes, pieces));
    }

    // Where things lie

    NVRAR_DEVICE Place fold_place(const Chunk& chunk) const {
        return {kExchange, schedule.steps(), schedule.fold_partner() * group_size + local,
                chunk.index};
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
