// The fabric of the checker: all ranks, blocks and threads of a job are fibers of one OS thread, and a
// scheduler chooses the order of all that they see of each other. The kernel is the very source that
// runs elsewhere; so are the fabrics: with NVRAR_CHECKING_NETWORK that of NVSHMEM, whose puts are on
// their way as long as the scheduler likes, else that of memory that is mapped.
//
// A job makes several calls with nothing between them, so ranks run ahead of each other by whole calls.
// When a call returns on a rank, that rank checks its result, bit by bit, and writes over its buffers.
#pragma once

#define NVRAR_CHECKED

#include "../portability.cuh"
#include "mapped.cuh"

#if defined(NVRAR_CHECKING_NETWORK)
#include <cuda_fp16.h>  // which says what __device__ is

#include "nvshmem.cuh"
#undef NVRAR_ENTRY

inline void nvrar_leave(void* target, const void* source, unsigned long bytes, unsigned long* flag,
                        unsigned long value, int pe);
extern "C" inline void nvrar_put(void* target, const void* source, unsigned long bytes, int pe) {
    nvrar_leave(target, source, bytes, nullptr, 0, pe);
}
extern "C" inline void nvrar_put_signal(void* target, const void* source, unsigned long bytes,
                                        unsigned long* flag, unsigned long value, int pe) {
    nvrar_leave(target, source, bytes, flag, value, pe);
}
extern "C" inline void nvrar_settle(unsigned long* flag, unsigned long) {
    nvrar::checking::engine.settle(flag);
}
#else
namespace nvrar {
using Fabric = LocalFabric;
}
#endif

#include "../all_reduce.cuh"

namespace nvrar {
namespace checking {

constexpr u64 kGuardBytes = 64;  // before and behind each buffer
constexpr Byte kGuard = 0xC9;

// One call of all ranks; `arguments` holds what is the same on all of them.
struct Call {
    Arguments arguments;
    u64 protocol;  // 0 signal, 1 packet
    u64 threads;
    u64 in_place;
    u64 starts_over;  // 0, or the epoch at which all go on with cleared staging memory
};

struct Job {
    const Call* calls;
    u64 call_count;
    u64 ranks;
    u64 ranks_per_node;
    u64 nodes;
    u64 fibers_per_rank;
    u64 buffer_bytes;      // of the largest message
    u64 staging_bytes[2];  // by protocol
    u64 first_epoch;
    u64 epoch_slots;
    u64 absent;  // 0, or 1 + the rank that makes no call: then every wait must end in a failure
};

// A pseudo-random element, exact in no partial sum: another order gives other bits.
template <typename T>
T input_element(u64 call, u64 rank, u64 index) {
    u64 hash = (call * 1000003 + rank) * 1000003 + index + 1;
    for (int i = 0; i < 2; ++i) hash = (hash ^ (hash >> 31)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
    const double unit = static_cast<double>(hash >> 40) / (1 << 24);
    return static_cast<T>((1 + unit) * (1 << (hash & 7)));
}

// What docs/protocol.md says under "Arithmetic": the nodes' sums by local rank, then digit by digit.
template <typename T, typename Op>
struct Reference {
    const Arguments& arguments;
    std::vector<T> of_node;

    Reference(const Arguments& a, u64 call, u64 index) : arguments(a), of_node(a.nodes) {
        for (u64 node = 0; node < a.nodes; ++node) {
            const u64 first = node * a.ranks_per_node;
            Accumulator<T> total = widen<T>(input_element<T>(call, first, index));
            for (u64 g = 1; g < a.ranks_per_node; ++g)
                total = Op::combine(total, widen<T>(input_element<T>(call, first + g, index)));
            keep(node, total, a.nodes == 1);
        }
        for (u64 node = a.core_nodes; node < a.nodes; ++node)
            keep(node - a.core_nodes,
                 Op::combine(widen<T>(of_node[node - a.core_nodes]), widen<T>(of_node[node])), false);
        u64 stride = 1;
        for (u64 step = 0; step < a.steps; stride *= a.radix[step++]) run(stride, step);
    }

    T result() const { return of_node[0]; }

   private:
    void keep(u64 node, Accumulator<T> total, bool is_final) {
        const u64 ranks = arguments.nodes * arguments.ranks_per_node;
        of_node[node] = narrow<T>(is_final ? Op::finish(total, ranks) : total);
    }

    void run(u64 stride, u64 step) {
        const std::vector<T> before = of_node;
        const u64 radix = arguments.radix[step];
        for (u64 node = 0; node < arguments.core_nodes; ++node) {
            const u64 first = node - node / stride % radix * stride;
            Accumulator<T> total = widen<T>(before[first]);
            for (u64 digit = 1; digit < radix; ++digit)
                total = Op::combine(total, widen<T>(before[first + digit * stride]));
            keep(node, total, step + 1 == arguments.steps);
        }
    }
};

inline Barrier of_rank[kMaxRanks], of_world;

// Where everything of one rank lies in the engine's memory.
struct Seat {
    Arguments arguments;
    u64 send, recv, staging[2], epochs, failure;
};

template <typename T, typename Op>
class Jobs {
   public:
    explicit Jobs(const Job& j) : job(j) {
        engine.arrange(static_cast<int>(job.ranks * job.fibers_per_rank));
        engine.life = [this](Fiber& fiber) { live(fiber); };
        engine.reset_memory(0);
        lay_out();
        for (u64 c = 0; c < job.call_count; ++c) foresee(c);
    }

    // One run from clean memory, by the engine's settings.
    void run() {
        engine.reset_memory(end);
        if (!is_named) name_memory();
        for (Barrier& barrier : of_rank) barrier = Barrier{};
        of_world = Barrier{};
        for (int i = 0; i < kMaxFibers; ++i) block_barriers[i] = Barrier{};
        for (u64 rank = 0; rank < job.ranks; ++rank) set_up(rank);
        engine.run();
        if (engine.failure.empty()) check_staging_guards();
    }

    // A put of rank `from`, whose own address `target` names the same place of rank `pe`.
    void leave(void* target, const void* source, u64 bytes, u64* flag, u64 value, u64 pe) const {
        const Fiber& fiber = current();
        if (fiber.thread != 0) return;  // a call of the whole block
        const u64 from = fiber.rank;
        const u64 protocol = job.calls[fiber.call].protocol;
        const auto there = [&](void* mine) -> u8* {
            return mine ? engine.memory(seats[pe].staging[protocol]) +
                              (static_cast<u8*>(mine) - engine.memory(seats[from].staging[protocol]))
                        : nullptr;
        };
        const u8* own = engine.memory(seats[from].staging[protocol]);
        const u8* at = static_cast<const u8*>(source);
        if (bytes && (at < own || at + bytes > own + job.staging_bytes[protocol]))
            engine.fail("rank %d puts what is not in its staging memory", fiber.rank);
        u64* const flag_there = reinterpret_cast<u64*>(there(flag));
        engine.put(fiber.rank, there(target), source, bytes, flag_there, value);
    }

   private:
    const Job job;
    Seat seats[kMaxRanks];
    void* staging_tables[2][kMaxRanks][kMaxRanks];
    void* send_table[kMaxRanks];
    void* recv_table[kMaxRanks];
    std::vector<std::vector<T>> inputs;  // by call and rank
    std::vector<std::vector<T>> results;
    std::vector<u64> guards;
    std::vector<Block> names;
    u64 end = 0;
    bool is_named = false;

    // Before the first run

    u64 place(u64 bytes, u64 rank, const char* name) {
        guards.push_back(end);
        const u64 at = end + kGuardBytes;
        end = round_up(at + bytes, 64) + kGuardBytes;
        guards.push_back(end - kGuardBytes);
        names.push_back({at, bytes, std::string(name) + " of rank " + std::to_string(rank)});
        return at;
    }

    void lay_out() {
        for (u64 rank = 0; rank < job.ranks; ++rank) {
            Seat& seat = seats[rank];
            seat.send = place(job.buffer_bytes + kGuardBytes, rank, "send");
            seat.recv = place(job.buffer_bytes + kGuardBytes, rank, "recv");
            seat.staging[0] = place(job.staging_bytes[0], rank, "staging of signal");
            seat.staging[1] = place(job.staging_bytes[1], rank, "staging of packet");
            seat.epochs = place(job.epoch_slots * sizeof(u64), rank, "epochs");
            seat.failure = place(sizeof(Failure), rank, "failure");
        }
    }

    void name_memory() {
        for (const Block& name : names) engine.name_memory(name.first, name.bytes, name.name);
        is_named = true;
    }

    void foresee(u64 c) {
        const Arguments& arguments = job.calls[c].arguments;
        std::vector<T> result(arguments.count);
        for (u64 i = 0; i < arguments.count; ++i)
            result[i] = Reference<T, Op>(arguments, c, i).result();
        results.push_back(result);
        for (u64 rank = 0; rank < job.ranks; ++rank) {
            std::vector<T> input(arguments.count);
            for (u64 i = 0; i < arguments.count; ++i) input[i] = input_element<T>(c, rank, i);
            inputs.push_back(input);
        }
    }

    // Before each run

    void set_up(u64 rank) {
        const Seat& seat = seats[rank];
        for (u64 guard : guards) memset(engine.memory(guard), kGuard, kGuardBytes);
        u64* epochs = reinterpret_cast<u64*>(engine.memory(seat.epochs));
        std::fill(epochs, epochs + job.epoch_slots, job.first_epoch);
        send_table[rank] = engine.memory(seat.send);
        recv_table[rank] = engine.memory(seat.recv);
        for (int protocol = 0; protocol < 2; ++protocol)
            for (u64 from = 0; from < job.ranks; ++from)
                staging_tables[protocol][from][rank] =
                    is_mapped(from, rank) ? engine.memory(seat.staging[protocol]) : nullptr;
        for (u64 i = 0; i < job.fibers_per_rank; ++i) {
            Fiber& fiber = engine.fibers[rank * job.fibers_per_rank + i];
            fiber.rank = static_cast<int>(rank);
            fiber.index = static_cast<int>(i);
        }
    }

    bool is_mapped(u64 from, u64 rank) const {
#if defined(NVRAR_CHECKING_NETWORK)
        return from / job.ranks_per_node == rank / job.ranks_per_node;
#else
        return from < job.ranks && rank < job.ranks;
#endif
    }

    // The life of a fiber

    void live(Fiber& fiber) {
        Seat& seat = seats[fiber.rank];
        if (job.absent == static_cast<u64>(fiber.rank) + 1) return;
        for (u64 c = 0; c < job.call_count; ++c) {
            const Call& call = job.calls[c];
            fiber.call = static_cast<int>(c);
            if (call.starts_over) start_over(fiber, seat, call.starts_over);
            if (fiber.index == 0) prepare(seat, fiber.rank, c);
            meet_rank(fiber);
            launch(fiber, seat.arguments, call);
            meet_rank(fiber);
            if (fiber.index == 0) conclude(seat, fiber.rank, c);
            meet_rank(fiber);
        }
    }

    void meet_rank(Fiber& fiber) {
        engine.meet(of_rank[fiber.rank], static_cast<int>(job.fibers_per_rank), true);
    }

    void launch(Fiber& fiber, const Arguments& arguments, const Call& call) {
        if (static_cast<u64>(fiber.index) >= arguments.blocks * call.threads) return;
        fiber.threads = static_cast<int>(call.threads);
        fiber.thread = fiber.index % fiber.threads;
        fiber.block = fiber.index / fiber.threads + fiber.rank * static_cast<int>(arguments.blocks);
        if (call.protocol == 0)
            all_reduce<T, Op, Signal>(arguments);
        else
            all_reduce<T, Op, Packet>(arguments);
    }

    // As the backend does before a packet's flag would come round.
    void start_over(Fiber& fiber, const Seat& seat, u64 epoch) {
        const int everybody = static_cast<int>(engine.fibers.size());
        engine.meet(of_world, everybody, true);
        if (fiber.index == 0) {
            for (int protocol = 0; protocol < 2; ++protocol)
                write(seat.staging[protocol], job.staging_bytes[protocol], 0);
            u64* epochs = reinterpret_cast<u64*>(engine.memory(seat.epochs));
            std::fill(epochs, epochs + job.epoch_slots, epoch);
        }
        engine.meet(of_world, everybody, true);
    }

    void write(u64 at, u64 bytes, int value) {
        engine.note_write(engine.memory(at), bytes);
        memset(engine.memory(at), value, bytes);
    }

    void prepare(Seat& seat, int rank, u64 c) {
        const Call& call = job.calls[c];
        const std::vector<T>& input = inputs[c * job.ranks + rank];
        seat.arguments = call.arguments;
        Arguments& arguments = seat.arguments;
        arguments.rank = rank;
        arguments.send = engine.memory(seat.send);
        arguments.recv = engine.memory(call.in_place ? seat.send : seat.recv);
        arguments.epochs = reinterpret_cast<u64*>(engine.memory(seat.epochs));
        arguments.epoch_slots = job.epoch_slots;
        arguments.failure = reinterpret_cast<Failure*>(engine.memory(seat.failure));
        arguments.rank_staging = staging_tables[call.protocol][rank];
        const u64 first = rank - rank % job.ranks_per_node;
        arguments.node_send = send_table + first;
        arguments.node_recv = (call.in_place ? send_table : recv_table) + first;
        write(seat.send, job.buffer_bytes + kGuardBytes, 0xA5);
        write(seat.recv, job.buffer_bytes + kGuardBytes, 0x5A);
        memcpy(engine.memory(seat.send), input.data(), input.size() * sizeof(T));
    }

    // The call has returned on this rank: it looks at its buffers, and then they are written over.
    void conclude(const Seat& seat, int rank, u64 c) {
        if (job.absent) return conclude_in_vain(seat, rank, c);
        const Call& call = job.calls[c];
        const u64 bytes = call.arguments.count * sizeof(T);
        if (seat.arguments.failure->code) engine.fail("rank %d call %d gave up", rank, int(c));
        look(call.in_place ? seat.send : seat.recv, results[c], rank, c, "result");
        if (!call.in_place) look(seat.send, inputs[c * job.ranks + rank], rank, c, "input");
        look_behind(seat.send, bytes, 0xA5, rank, c, "send");
        look_behind(seat.recv, call.in_place ? 0 : bytes, 0x5A, rank, c, "recv");
        write(seat.send, job.buffer_bytes + kGuardBytes, 0xEE);
        write(seat.recv, job.buffer_bytes + kGuardBytes, 0xEE);
        check_epochs(seat, rank, c);
    }

    void look(u64 at, const std::vector<T>& expected, int rank, u64 c, const char* what) {
        const T* seen = reinterpret_cast<const T*>(engine.memory(at));
        engine.note_read(seen, expected.size() * sizeof(T));
        for (u64 i = 0; i < expected.size(); ++i)
            if (memcmp(seen + i, &expected[i], sizeof(T)) != 0)
                engine.fail("rank %d call %d: element %d of the %s is %.9g, not %.9g", rank, int(c),
                            int(i), what, double(widen<T>(seen[i])), double(widen<T>(expected[i])));
    }

    void look_behind(u64 at, u64 bytes, int filler, int rank, u64 c, const char* what) {
        const Byte* seen = engine.memory(at);
        for (u64 i = bytes; i < job.buffer_bytes + kGuardBytes; ++i)
            if (seen[i] != filler)
                engine.fail("rank %d call %d: byte %d of %s, behind the message, was written", rank,
                            int(c), int(i), what);
    }

    // All slots hold the epoch of the next call, or 0 where the call gave up.
    void check_epochs(const Seat& seat, int rank, u64 c) {
        const Arguments& arguments = seat.arguments;
        u64 expected = job.first_epoch;
        for (u64 i = 0; i <= c; ++i) {
            if (job.calls[i].starts_over) expected = job.calls[i].starts_over;
            if (job.calls[i].arguments.count) expected += job.calls[i].arguments.epochs_taken;
        }
        if (job.absent) expected = 0;
        for (u64 slot = 0; slot < job.epoch_slots; ++slot)
            if (arguments.epochs[slot] != expected)
                engine.fail("rank %d call %d leaves epoch %lld in slot %d, not %lld", rank, int(c),
                            static_cast<long long>(arguments.epochs[slot]), int(slot),
                            static_cast<long long>(expected));
    }

    // Somebody is missing: the call must not pass for one that went well, nor may a later one run.
    void conclude_in_vain(const Seat& seat, int rank, u64 c) {
        const Failure& failure = *seat.arguments.failure;
        if (!failure.code) engine.fail("rank %d call %d went well without all ranks", rank, int(c));
        if (failure.expected == failure.seen)
            engine.fail("rank %d call %d gave up on what had come", rank, int(c));
        check_epochs(seat, rank, c);
        if (c == 0) return;
        look_behind(seat.recv, 0, 0x5A, rank, c, "recv");
    }

    void check_staging_guards() {
        for (u64 guard : guards)
            for (u64 i = 0; i < kGuardBytes; ++i)
                if (engine.memory(guard)[i] != kGuard) {
                    engine.failure = "a byte outside all buffers was written";
                    return;
                }
    }
};

}  // namespace checking
}  // namespace nvrar
