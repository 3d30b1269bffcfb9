// Protocol `signal`: bulk data, then one 64-bit flag with release/acquire order. Portable: it assumes
// nothing of the transport but that data put before a signal is there when the signal is seen.
//
// Direct (send and recv are symmetric): peers of a node read each other's send and write each other's
// recv; an entry flag says "my buffers may be touched", an exit flag "I touch yours no more".
// Staged (private buffers): each rank copies its input into its inbox, leaves its reduced slice in its
// outbox, and fetches the other slices from its peers' outboxes.
#pragma once

#include "span.cuh"
#include "standing.cuh"

namespace nvrar {

// What arrived in the slots of one step, with this node's own operand among it, by digit.
template <typename T>
struct Arrived {
    const u8* slots;  // of digit 0, or 1 where this node is digit 0
    u32 region_bytes;
    u32 count;
    const T* own;
    u32 own_index;

    NVRAR_DEVICE const T* operator[](u32 digit) const {
        if (digit == own_index) return own;
        return reinterpret_cast<const T*>(slots + u64{digit - (digit > own_index)} * region_bytes);
    }
};

template <typename T, typename Op>
struct Signal : Standing {
    void* const* node_send;
    void* const* node_recv;

    NVRAR_DEVICE explicit Signal(const Arguments& a) : Standing(a) {
        if (!a.staged) publish_earlier_calls(group_size - 1);
        node_send = keep_near<0>(a.node_send, a.staged ? 0 : group_size);
        node_recv = keep_near<1>(a.node_recv, a.staged ? 0 : group_size);
        fabric.near_staging = keep_near<2>(a.rank_staging, ranks());
        if constexpr (kKeepsNear) block_sync();
    }

    NVRAR_DEVICE bool run() {
        return for_windows(arguments.count * sizeof(T),
                           [&](const Window& window) { return run_window(window); });
    }

   private:
    NVRAR_DEVICE bool run_window(const Window& window) {
        if constexpr (Fabric::kSendsMessages)
            expect_messages(window, window.slice_bytes(local),
                            [](const Chunk& c) { return Bounds{c.begin, c.bytes}; });
        return enter(window) && reduce_scatter(window) && exchange(window) && all_gather(window);
    }

    // Phase 1

    NVRAR_DEVICE bool enter(const Window& window) {
        if (group_size == 1 || !(arguments.staged || window.is_first)) return true;
        if (arguments.staged) copy_in(window);
        return meet(window, layout.entry_flags, kReduceScatter);
    }

    NVRAR_DEVICE void copy_in(const Window& window) {
        NVRAR_ROLLED
        for (u32 g = 0; g < group_size; ++g) {
            if (g == local) continue;
            for_own_chunks(arguments, window.slice_bytes(g), [&](const Chunk& chunk) {
                copy(own_region(window, layout.inbox, g) + chunk.begin,
                     send_at(window, g, chunk), chunk.bytes);
                return true;
            });
        }
    }

    NVRAR_DEVICE bool reduce_scatter(const Window& window) {
        const bool is_final = schedule.is_one_node();
        if (input_is_partial() && !is_final) return true;
        return for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            const u64 at = in_message(window, local, chunk.begin);
            const T* own = send_at(window, local, chunk);
            const Sources<T> sources =
                arguments.staged
                    ? Sources<T>{fabric.table() + node * group_size,
                                 region(window, layout.inbox, local) + chunk.begin, group_size, own,
                                 local}
                    : Sources<T>{node_send, at, group_size, own, local};
            reduce_to(window, sources, chunk, is_final, 0);
            return true;
        });
    }

    // Phase 2

    NVRAR_DEVICE bool exchange(const Window& window) {
        if (schedule.is_one_node()) return true;
        if (!exchange_all(window)) return false;
        if constexpr (Fabric::kSendsMessages) return await_all_puts(window);
        return true;
    }

    NVRAR_DEVICE bool exchange_all(const Window& window) {
        const bool is_folded = schedule.is_folded();
        const u32 turns = is_folded ? 1 : schedule.turns();
        u32 level = 0;
        if (schedule.has_folded() && !combine_fold(window, level++)) return false;
        NVRAR_ROLLED
        for (u32 turn = 0; turn < turns; ++turn, ++level) {
            send_turn(window, turn, level);
            if (!(is_folded ? take_from_fold(window) : receive_turn(window, turn, level))) return false;
        }
        if (schedule.has_folded()) give_back(window);
        return true;
    }

    // To all partners of a turn, or to the other one of a fold.
    NVRAR_DEVICE void send_turn(const Window& window, u32 turn, u32 level) {
        block_sync();
        for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            if (leaves_unasked(turn, chunk)) send(window, turn, level, chunk);
            return true;
        });
    }

    // Of messages few are under way at a time: what has come lies in caches until it is read. In a fold
    // nothing comes for what is sent.
    NVRAR_DEVICE bool leaves_unasked(u32 turn, const Chunk& chunk) const {
        if constexpr (Fabric::kSendsMessages)
            return chunk.index < fabric.chunks_ahead() || schedule.is_folded() ||
                   turn >= schedule.turns();
        return true;
    }

    // What may leave now that `chunk` has come.
    NVRAR_DEVICE void send_next(const Window& window, u32 turn, u32 level, const Chunk& chunk) {
        if constexpr (Fabric::kSendsMessages) {
            const u32 index = chunk.index + fabric.chunks_ahead();
            const Chunk next = chunk_at(arguments, window.slice_bytes(local), index);
            if (next.bytes) send(window, turn, level, next);
        }
    }

    NVRAR_DEVICE void send(const Window& window, u32 turn, u32 level, const Chunk& chunk) {
        for_takers(turn, [&](u32 rank, u32 slot, u32 digit) {
            const Chunk part = schedule.sent(chunk, turn, digit);
            fabric.put_signal(rank, slot_region(window, slot) + part.begin,
                              leaving(window, turn, level, part), part.bytes,
                              arrival_flag(window, slot, part.index), window.epoch);
        });
    }

    NVRAR_DEVICE const T* leaving(const Window& window, u32 turn, u32 level, const Chunk& part) const {
        if (turn < schedule.steps()) return partial(window, level, part);
        const bool is_in_staging = Fabric::kPutsFromStaging || schedule.is_halving();
        return is_in_staging ? finished(window, part) : recv_at(window, local, part);
    }

    NVRAR_DEVICE bool receive_turn(const Window& window, u32 turn, u32 level) {
        const Group group = schedule.group(turn);
        const bool is_last = turn + 1 == schedule.turns();
        const u32 first_slot = schedule.slot(turn, group.radix, 0);
        return for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            NVRAR_ROLLED
            for (u32 digit = 0; digit < group.radix; ++digit)
                if (digit != group.digit &&
                    !arrived(window, turn, group.node(digit),
                             schedule.slot(turn, group.digit, digit), chunk))
                    return false;
            send_next(window, turn, level, chunk);
            if (is_last && !release_input(window, chunk)) return false;
            if (schedule.is_gather(turn)) {
                if (is_last) deliver(window, chunk);
                return true;
            }
            const Chunk part = schedule.received(chunk, turn, group.digit);
            const Arrived<T> sources{own_region(window, layout.slots, first_slot) + part.begin,
                                     layout.region_bytes, group.radix,
                                     partial(window, level, part), group.digit};
            reduce_to(window, sources, part, schedule.is_last_reduction(turn), level + 1);
            return true;
        });
    }

    // In place, the result goes where a message may still be read from: those of the first step.
    NVRAR_DEVICE bool release_input(const Window& window, const Chunk& chunk) const {
        if constexpr (Fabric::kSendsMessages) {
            if (!input_is_partial() || arguments.send != arguments.recv || schedule.has_folded())
                return true;
            const Group group = schedule.group(0);
            const u32 partner = group.node(around(group.digit + 1, group.radix)) * group_size + local;
            return fabric.await_puts(chunk.index * (group.radix - 1), group.radix - 1,
                                     Place{kExchange, 0, partner, chunk.index}, window.epoch);
        }
        return true;
    }

    NVRAR_DEVICE bool combine_fold(const Window& window, u32 level) {
        return for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            if (!arrived(window, schedule.turns(), schedule.fold_partner(), schedule.fold_slot(),
                         chunk))
                return false;
            const Arrived<T> sources{own_region(window, layout.fold, 0) + chunk.begin, 0, 2,
                                     partial(window, level, chunk), 0};
            reduce_to(window, sources, chunk, false, level + 1);
            return true;
        });
    }

    // To the result, or to the partial result of `level`. One loop for both keeps the code small.
    template <typename Operands>
    NVRAR_DEVICE void reduce_to(const Window& window, const Operands& sources, const Chunk& chunk,
                                bool is_final, u32 level) {
        const Targets<T> targets = !is_final               ? only(partial(window, level, chunk))
                                   : schedule.is_halving() ? only(finished(window, chunk))
                                                           : result(window, chunk);
        reduce<T, Op>(sources, targets, chunk.bytes / sizeof(T), is_final ? ranks() : 0);
    }

    // What has been finished, here or elsewhere, to where the finished slice goes.
    NVRAR_DEVICE void deliver(const Window& window, const Chunk& chunk) const {
        const Targets<T> targets = result(window, chunk);
        NVRAR_ROLLED
        for (u32 i = 0; i < targets.count; ++i)
            copy(targets[i], finished(window, chunk), chunk.bytes);
    }

    NVRAR_DEVICE void give_back(const Window& window) {
        if (Fabric::kPutsFromStaging && !schedule.is_halving()) {
            block_sync();
            for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
                copy(finished(window, chunk), recv_at(window, local, chunk), chunk.bytes);
                return true;
            });
        }
        send_turn(window, schedule.turns(), 0);
    }

    NVRAR_DEVICE bool take_from_fold(const Window& window) {
        return for_own_chunks(arguments, window.slice_bytes(local), [&](const Chunk& chunk) {
            if (!arrived(window, schedule.turns(), schedule.fold_partner(), schedule.unfold_slot(),
                         chunk))
                return false;
            if constexpr (Fabric::kSendsMessages)
                if (!await_all_puts(window)) return false;
            deliver(window, chunk);
            return true;
        });
    }

    // Phase 3

    NVRAR_DEVICE bool all_gather(const Window& window) {
        if (group_size == 1 || !(arguments.staged || window.is_last)) return true;
        if (!meet(window, layout.exit_flags, kAllGather)) return false;
        if (arguments.staged) copy_out(window);
        return true;
    }

    NVRAR_DEVICE void copy_out(const Window& window) {
        NVRAR_ROLLED
        for (u32 i = 1; i < group_size; ++i) {
            const u32 g = around(local + i, group_size);  // spread over the peers
            const u8* outbox =
                fabric.staging(node * group_size + g) + region(window, layout.outbox, 0);
            for_own_chunks(arguments, window.slice_bytes(g), [&](const Chunk& chunk) {
                copy(recv_at(window, g, chunk), outbox + chunk.begin, chunk.bytes);
                return true;
            });
        }
    }

    // Where things lie

    NVRAR_DEVICE u8* own_region(const Window& window, u64 kind, u32 index) const {
        return fabric.own_staging() + region(window, kind, index);
    }

    NVRAR_DEVICE const T* send_at(const Window& window, u32 slice, const Chunk& chunk) const {
        return reinterpret_cast<const T*>(static_cast<const u8*>(arguments.send) +
                                          in_message(window, slice, chunk.begin));
    }
    NVRAR_DEVICE T* recv_at(const Window& window, u32 slice, const Chunk& chunk) const {
        return reinterpret_cast<T*>(static_cast<u8*>(arguments.recv) +
                                    in_message(window, slice, chunk.begin));
    }

    // With one rank per node there is nothing to combine before the exchange.
    NVRAR_DEVICE bool input_is_partial() const {
        return group_size == 1 && !Fabric::kPutsFromStaging;
    }

    // What this node has combined so far.
    NVRAR_DEVICE T* partial(const Window& window, u32 level, const Chunk& chunk) const {
        if (level == 0 && input_is_partial()) return const_cast<T*>(send_at(window, local, chunk));
        return reinterpret_cast<T*>(own_region(window, layout.partials, level) + chunk.begin);
    }

    // What comes back from other nodes, and in halving this node's own part of it.
    NVRAR_DEVICE T* finished(const Window& window, const Chunk& chunk) const {
        return reinterpret_cast<T*>(own_region(window, layout.unfold, 0) + chunk.begin);
    }

    // Where the finished slice goes: to all peers, or to this rank and its outbox.
    NVRAR_DEVICE Targets<T> result(const Window& window, const Chunk& chunk) const {
        T* own = recv_at(window, local, chunk);
        if (group_size == 1) return only(own);
        if (arguments.staged)
            return {fabric.table() + arguments.rank,
                    region(window, layout.outbox, 0) + chunk.begin, 2, own, 1};
        const u64 at = in_message(window, local, chunk.begin);
        return {node_recv, at, group_size, own, local};
    }

    // Flags

    NVRAR_DEVICE bool arrived(const Window& window, u32 turn, u32 from_node, u32 slot,
                              const Chunk& chunk) const {
        const u32 from = from_node * group_size + local;
        const u64 flag = arrival_flag(window, slot, chunk.index);
        const Place place{kExchange, turn, from, chunk.index};
        if constexpr (Fabric::kSendsMessages)
            if (!fabric.is_mapped(from)) return fabric.await_message(place, flag, window.epoch);
        bool seen = true;
        if (thread_index() == 0) {
            seen = await(place, flag, window.epoch);
            if (seen) fabric.settle(from, flag, window.epoch);
        }
        return block_all(seen);
    }

    // Tells all peers of the node, and waits until each has told the same.
    NVRAR_DEVICE bool meet(const Window& window, u64 flags, Phase phase) const {
        constexpr u32 line = 64;
        const u64 first = flags + block * group_size * line;
        const bool is_published = phase == kReduceScatter && !arguments.staged;  // nothing of this call
        bool seen = true;
        block_sync();
        NVRAR_ROLLED
        for (u32 i = 1 + thread_index(); i < group_size; i += thread_count())
            fabric.signal(node * group_size + around(local + i, group_size), first + local * line,
                          window.epoch, is_published);
        NVRAR_ROLLED
        for (u32 i = 1 + thread_index(); seen && i < group_size; i += thread_count()) {
            const u32 peer = around(local + i, group_size);
            seen = await(Place{phase, 0, node * group_size + peer, 0}, first + peer * line,
                         window.epoch);
        }
        return block_all(seen);
    }

    NVRAR_DEVICE bool await(const Place& place, u64 flag_offset, u64 expected) const {
        constexpr auto order = cuda::memory_order_acquire;
        const u64* flag = reinterpret_cast<u64*>(fabric.own_staging() + flag_offset);
        return Waiter::look<order>(flag) == expected ||
               Waiter::wait<order>(arguments, flag, expected, place) == expected;
    }
};

}  // namespace nvrar
