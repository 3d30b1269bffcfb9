// The fabric of the checker: all ranks, blocks and threads of a job are fibers of one OS thread, and a
// scheduler chooses the order of all that they see of each other. The kernel is the very source that
// runs elsewhere; so are the fabrics: with NVRAR_CHECKING_NETWORK that of NVSHMEM, whose puts are on
// their way as long as the scheduler likes, with NVRAR_CHECKING_MESSAGES that of CPU ranks on several
// machines, each a node, over an MPI of the checker, else that of memory that is mapped.
//
// A job makes several calls with nothing between them, so ranks run ahead of each other by whole calls.
// When a call returns on a rank, that rank checks its result, bit by bit, and writes over its buffers.
#pragma once

#if defined(NVRAR_CHECKING_MESSAGES)
#include "fabric/hosts.cuh"
#undef NVRAR_ENTRY

#include "messages.cuh"
#endif

#include "fabric/mapped.cuh"
#include "portability.cuh"

#if defined(NVRAR_CHECKING_NETWORK)
#include <cuda_fp16.h>  // which says what __device__ is

#include "fabric/nvshmem.cuh"
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
#elif !defined(NVRAR_CHECKING_MESSAGES)
namespace nvrar {
using Fabric = LocalFabric;
}
#endif

#include "job.cuh"

namespace nvrar {
namespace checking {

constexpr u64 kGuardBytes = 64;  // before and behind each buffer
constexpr u64 kAhead = 2;         // chunks under way to a partner, of up to eight in a window
constexpr Byte kGuard = 0xC9;
constexpr Byte kFiller[2] = {0xA5, 0x5A};  // of what is not the message, by buffer

inline Barrier of_rank[kMaxRanks], of_world;

// Where everything of one rank lies in the engine's memory.
struct Seat {
    Arguments arguments;
    u64 buffer[2], staging[2], epochs, failure, requests;
};

class Jobs {
   public:
    Jobs(const Job& j, const Row* r) : job(j), rows(r) {
        engine.arrange(static_cast<int>(job.ranks * job.fibers_per_rank));
        engine.life = [this](Fiber& fiber) { live(fiber); };
        engine.reset_memory(0);
        lay_out();
        for (u64 c = 0; c < job.call_count; ++c)
            known.emplace_back(row_of(c), job.calls[c], c, job.ranks);
    }

    // One run from clean memory, by the engine's settings.
    void run() {
        engine.reset_memory(end);
        if (!is_named) name_memory();
        for (Barrier& barrier : of_rank) barrier = Barrier{};
        of_world = Barrier{};
        for (int i = 0; i < kMaxFibers; ++i) block_barriers[i] = Barrier{};
#if defined(NVRAR_CHECKING_MESSAGES)
        library.start_over(job.is_lazy);
#endif
        for (u64 rank = 0; rank < job.ranks; ++rank) set_up(rank);
        engine.run();
#if defined(NVRAR_CHECKING_MESSAGES)
        if (!job.absent) library.require_empty();
#endif
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
    const Row* const rows;
    Seat seats[kMaxRanks];
    void* staging_tables[2][kMaxRanks][kMaxRanks];
    void* message_tables[2][kMaxRanks][kMaxRanks];  // by end and rank that looks
    std::vector<Known> known;                       // by call
    std::vector<u64> guards;
    std::vector<Block> names;
    u64 end = 0;
    bool is_named = false;
#if defined(NVRAR_CHECKING_MESSAGES)
    Transport transports[kMaxRanks];
#endif

    // Before the first run

    u64 place(u64 bytes, u64 rank, const char* name) {
        guards.push_back(end);
        const u64 at = end + kGuardBytes;
        end = (at + bytes + 63) / 64 * 64 + kGuardBytes;
        guards.push_back(end - kGuardBytes);
        names.push_back({at, bytes, std::string(name) + " of rank " + std::to_string(rank)});
        return at;
    }

    void lay_out() {
        for (u64 rank = 0; rank < job.ranks; ++rank) {
            Seat& seat = seats[rank];
            seat.buffer[0] = place(job.buffer_bytes + kGuardBytes, rank, "buffer 0");
            seat.buffer[1] = place(job.buffer_bytes + kGuardBytes, rank, "buffer 1");
            seat.staging[0] = place(job.staging_bytes[0], rank, "staging of signal");
            seat.staging[1] = place(job.staging_bytes[1], rank, "staging of packet");
            seat.epochs = place(job.epoch_slots * sizeof(u64), rank, "epochs");
            seat.failure = place(sizeof(Failure), rank, "failure");
            seat.requests = place(2 * request_bytes(), rank, "requests");
        }
    }

    // Of those that are expected in a window, or sent: as nvrar_bench/backends/nvrar/cpu.py has it.
    u64 request_bytes() const {
        u64 count = 0;
        for (u64 c = 0; c < job.call_count; ++c) {
            const Arguments& arguments = job.calls[c].arguments;
            const u64 flags = 2 * arguments.arrivals * arguments.layout.chunks_per_region;
            count = std::max(count, flags);
        }
        return count * sizeof(u64);
    }

    void name_memory() {
        for (const Block& name : names) engine.name_memory(name.first, name.bytes, name.name);
        is_named = true;
    }

    const Row& row_of(u64 c) const { return rows[job.calls[c].row]; }

    // Before each run

    void set_up(u64 rank) {
        const Seat& seat = seats[rank];
        for (u64 guard : guards) memset(engine.memory(guard), kGuard, kGuardBytes);
        u64* epochs = reinterpret_cast<u64*>(engine.memory(seat.epochs));
        std::fill(epochs, epochs + job.epoch_slots, job.first_epoch);
        for (int protocol = 0; protocol < 2; ++protocol)
            for (u64 from = 0; from < job.ranks; ++from)
                staging_tables[protocol][from][rank] =
                    is_mapped(from, rank) ? engine.memory(seat.staging[protocol]) : nullptr;
        for (u64 i = 0; i < job.fibers_per_rank; ++i) {
            Fiber& fiber = engine.fibers[rank * job.fibers_per_rank + i];
            fiber.rank = static_cast<int>(rank);
            fiber.index = static_cast<int>(i);
        }
#if defined(NVRAR_CHECKING_MESSAGES)
        u64* requests = reinterpret_cast<u64*>(engine.memory(seat.requests));
        u64* const sent = requests + request_bytes() / sizeof(u64);
        library.keep_handles(static_cast<int>(rank), requests, sent + request_bytes() / sizeof(u64));
        transports[rank] = {
            reinterpret_cast<u64>(&mpi_isend), reinterpret_cast<u64>(&mpi_irecv),
            reinterpret_cast<u64>(&mpi_test), reinterpret_cast<u64>(&mpi_iprobe),
            0, 0, 0, 0, kAhead, requests, sent, 0};
#endif
    }

    bool is_mapped(u64 from, u64 rank) const {
#if defined(NVRAR_CHECKING_NETWORK) || defined(NVRAR_CHECKING_MESSAGES)
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
            launch(fiber, seat.arguments, c);
            meet_rank(fiber);
            if (fiber.index == 0) conclude(seat, fiber.rank, c);
            meet_rank(fiber);
        }
    }

    void meet_rank(Fiber& fiber) {
        engine.meet(of_rank[fiber.rank], static_cast<int>(job.fibers_per_rank), true);
    }

    void launch(Fiber& fiber, const Arguments& arguments, u64 c) {
        const Call& call = job.calls[c];
        if (static_cast<u64>(fiber.index) >= arguments.blocks * call.threads) return;
        fiber.threads = static_cast<int>(call.threads);
        fiber.thread = fiber.index % fiber.threads;
        fiber.block = fiber.index / fiber.threads;
        row_of(c).run(arguments, call.protocol);
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
        seat.arguments = call.arguments;
        Arguments& arguments = seat.arguments;
        seat_at(arguments, rank);
        arguments.send = message(rank, call.from, call);
        arguments.recv = message(rank, call.to, call);
        arguments.epochs = reinterpret_cast<u64*>(engine.memory(seat.epochs));
        arguments.epoch_slots = job.epoch_slots;
        arguments.failure = reinterpret_cast<Failure*>(engine.memory(seat.failure));
        arguments.staging = engine.memory(seat.staging[call.protocol]);
        arguments.rank_staging = staging_tables[call.protocol][rank];
#if defined(NVRAR_CHECKING_MESSAGES)
        arguments.transport = &transports[rank];
#endif
        const u64 first = rank - arguments.local;
        arguments.node_send = message_tables[0][rank];
        arguments.node_recv = message_tables[1][rank];
        for (u64 g = 0; g < job.ranks_per_node; ++g) {
            message_tables[0][rank][g] = message(first + g, call.from, call);
            message_tables[1][rank][g] = message(first + g, call.to, call);
        }
        for (int b = 0; b < 2; ++b)
            write(seat.buffer[b], job.buffer_bytes + kGuardBytes, kFiller[b]);
        const std::vector<u8>& input = known[c].inputs[rank];
        memcpy(message(rank, call.from, call), input.data(), input.size());
    }

    u8* message(u64 rank, u64 buffer, const Call& call) const {
        return engine.memory(seats[rank].buffer[buffer]) + call.shift;
    }

    // The call has returned on this rank: it looks at its buffers, and then they are written over.
    void conclude(const Seat& seat, int rank, u64 c) {
        if (job.absent) return conclude_in_vain(seat, rank, c);
        const Call& call = job.calls[c];
        if (seat.arguments.failure->code) engine.fail("rank %d call %d gave up", rank, int(c));
        look(call.to, known[c].result, rank, c, "result");
        if (call.from != call.to) look(call.from, known[c].inputs[rank], rank, c, "input");
        const u64 bytes = known[c].result.size();
        for (u64 b = 0; b < 2; ++b) {
            look_around(b, b == call.from || b == call.to ? bytes : 0, rank, c);
            write(seat.buffer[b], job.buffer_bytes + kGuardBytes, 0xEE);
        }
        check_epochs(seat, rank, c);
#if defined(NVRAR_CHECKING_MESSAGES)
        library.require_over(rank);
#endif
    }

    void look(u64 buffer, const std::vector<u8>& expected, int rank, u64 c, const char* what) {
        const u8* seen = message(rank, buffer, job.calls[c]);
        const u64 step = row_of(c).element_bytes;
        engine.note_read(seen, expected.size());
        for (u64 i = 0; i < expected.size(); i += step)
            if (memcmp(seen + i, &expected[i], step) != 0)
                engine.fail("rank %d call %d: element %d of the %s is %.9g, not %.9g", rank, int(c),
                            int(i / step), what, row_of(c).value(seen + i),
                            row_of(c).value(&expected[i]));
    }

    // All of a buffer but the message.
    void look_around(u64 buffer, u64 bytes, int rank, u64 c) {
        const Byte* seen = engine.memory(seats[rank].buffer[buffer]);
        const u64 first = job.calls[c].shift;
        for (u64 i = 0; i < job.buffer_bytes + kGuardBytes; ++i)
            if ((i < first || i >= first + bytes) && seen[i] != kFiller[buffer])
                engine.fail("rank %d call %d: byte %d of buffer %d, outside the message, was written",
                            rank, int(c), int(i), int(buffer));
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
        if (c > 0 && job.calls[c].from == 0) look_around(1, 0, rank, c);
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
