// The kernel of the host for sanitizers: every thread of every block of every rank is a thread of this
// process, which runs the jobs of a file that test_sanitizers.py writes. Nothing stands between a rank's
// calls; each call has buffers of its own, of exactly its size, and frees them as soon as it has
// returned. It ends with code 0 if every result was right, bit by bit, and else says which was not.
//
// NVRAR_ROWS lists element types and operations, as checker/job.cuh has them.
#if defined(NVRAR_TELL_ORDER)
#include "told_order.hpp"
#endif

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>

#include "fabric/loopback.cuh"
#include "checker/job.cuh"

namespace nvrar {
namespace {

using checking::Call;
using checking::Job;
using checking::Known;

const checking::Row rows[] = {NVRAR_ROWS};

class Barrier {
   public:
    explicit Barrier(u64 members) { pthread_barrier_init(&barrier, nullptr, members); }
    ~Barrier() { pthread_barrier_destroy(&barrier); }
    Barrier(const Barrier&) = delete;
    void meet() { pthread_barrier_wait(&barrier); }

   private:
    pthread_barrier_t barrier;
};

using Memory = std::unique_ptr<u8[]>;

// A rank, and one of its calls.
struct Seat {
    Memory staging[2];
    std::unique_ptr<u64[]> epochs;
    std::unique_ptr<Failure> failure;
    std::unique_ptr<Barrier> barrier;
    void* staging_table[2][kMaxVirtualRanks];
};
struct Made {
    Memory buffer[2];
    std::vector<EmulatedBlock> blocks;
    Arguments arguments;
    void* send[kMaxVirtualRanks];
    void* recv[kMaxVirtualRanks];
};

class Run {
   public:
    Run(const Job& j, u64 s) : job(j), seed(s), everybody(j.ranks * j.fibers_per_rank), seats(j.ranks) {
        for (u64 c = 0; c < job.call_count; ++c)
            known.emplace_back(rows[job.calls[c].row], job.calls[c], c, job.ranks);
        for (Seat& seat : seats) furnish(seat);
        for (u64 rank = 0; rank < job.ranks; ++rank)
            for (u64 peer = 0; peer < job.ranks; ++peer)
                for (int protocol = 0; protocol < 2; ++protocol)
                    seats[rank].staging_table[protocol][peer] = seats[peer].staging[protocol].get();
        for (u64 c = 0; c < job.call_count; ++c) make(c);
    }

    // Whether all went well.
    bool run() {
        std::vector<std::thread> threads;
        for (u64 rank = 0; rank < job.ranks; ++rank)
            for (u64 index = 0; index < job.fibers_per_rank; ++index)
                threads.emplace_back([this, rank, index] { live(rank, index); });
        for (std::thread& thread : threads) thread.join();
        return problems.load() == 0;
    }

   private:
    const Job job;
    const u64 seed;
    Barrier everybody;
    std::vector<Seat> seats;
    std::vector<Known> known;                        // by call
    std::vector<std::vector<std::unique_ptr<Made>>> made;  // by call and rank
    std::atomic<int> problems{0};

    void furnish(Seat& seat) {
        for (int protocol = 0; protocol < 2; ++protocol)
            seat.staging[protocol] = Memory(new u8[job.staging_bytes[protocol]]());
        seat.epochs.reset(new u64[job.epoch_slots]);
        std::fill_n(seat.epochs.get(), job.epoch_slots, job.first_epoch);
        seat.failure.reset(new Failure{});
        seat.barrier.reset(new Barrier(job.fibers_per_rank));
    }

    u64 bytes_of(u64 c) const { return known[c].result.size(); }

    void make(u64 c) {
        const Call& call = job.calls[c];
        made.emplace_back();
        for (u64 rank = 0; rank < job.ranks; ++rank) {
            made[c].emplace_back(new Made);
            Made& mine = *made[c][rank];
            for (u64 b : {call.from, call.to})
                if (!mine.buffer[b]) mine.buffer[b] = Memory(new u8[call.shift + bytes_of(c)]);
            mine.blocks = std::vector<EmulatedBlock>(call.arguments.blocks);
            for (u64 b = 0; b < call.arguments.blocks; ++b) {
                mine.blocks[b].index = static_cast<int>(b);
                mine.blocks[b].threads = static_cast<int>(call.threads);
            }
        }
        for (u64 rank = 0; rank < job.ranks; ++rank) address(c, rank);
    }

    u8* message(u64 c, u64 rank, u64 buffer) const {
        return made[c][rank]->buffer[buffer].get() + job.calls[c].shift;
    }

    void address(u64 c, u64 rank) {
        const Call& call = job.calls[c];
        Made& mine = *made[c][rank];
        mine.arguments = call.arguments;
        Arguments& arguments = mine.arguments;
        checking::seat_at(arguments, rank);
        arguments.send = message(c, rank, call.from);
        arguments.recv = message(c, rank, call.to);
        arguments.epochs = seats[rank].epochs.get();
        arguments.epoch_slots = job.epoch_slots;
        arguments.failure = seats[rank].failure.get();
        arguments.staging = seats[rank].staging[call.protocol].get();
        arguments.rank_staging = seats[rank].staging_table[call.protocol];
        const u64 first = rank - arguments.local;
        for (u64 g = 0; g < job.ranks_per_node; ++g) {
            mine.send[g] = message(c, first + g, call.from);
            mine.recv[g] = message(c, first + g, call.to);
        }
        arguments.node_send = mine.send;
        arguments.node_recv = mine.recv;
    }

    void live(u64 rank, u64 index) {
        std::minstd_rand dice(static_cast<unsigned>(seed * 1000 + rank * 100 + index + 1));
        Seat& seat = seats[rank];
        for (u64 c = 0; c < job.call_count; ++c) {
            const Call& call = job.calls[c];
            if (call.starts_over) start_over(seat, index, call.starts_over);
            if (index == 0) fill(c, rank);
            seat.barrier->meet();
            if (dice() % 8 == 0) usleep(dice() % 300);
            if (index < call.arguments.blocks * call.threads) launch(c, rank, index);
            seat.barrier->meet();
            if (index == 0) conclude(c, rank);
        }
    }

    // As the backend does before a packet's flag would come round.
    void start_over(Seat& seat, u64 index, u64 epoch) {
        everybody.meet();
        if (index == 0) {
            for (int protocol = 0; protocol < 2; ++protocol)
                std::fill_n(seat.staging[protocol].get(), job.staging_bytes[protocol], u8{0});
            std::fill_n(seat.epochs.get(), job.epoch_slots, epoch);
        }
        everybody.meet();
    }

    void fill(u64 c, u64 rank) {
        const Call& call = job.calls[c];
        std::fill_n(message(c, rank, call.to), bytes_of(c), u8{0x5A});
        std::copy_n(known[c].inputs[rank].data(), bytes_of(c), message(c, rank, call.from));
    }

    void launch(u64 c, u64 rank, u64 index) {
        const Call& call = job.calls[c];
        Made& mine = *made[c][rank];
        emulated = {&mine.blocks[index / call.threads], static_cast<int>(index % call.threads)};
        rows[call.row].run(mine.arguments, call.protocol);
    }

    void conclude(u64 c, u64 rank) {
        const Call& call = job.calls[c];
        const Failure& failure = *seats[rank].failure;
        if (failure.code)
            complain(c, rank, "gave up in phase", failure.phase);
        else if (call.from != call.to &&
                 memcmp(message(c, rank, call.from), known[c].inputs[rank].data(), bytes_of(c)))
            complain(c, rank, "wrote its input, of bytes", bytes_of(c));
        const u64 size = rows[call.row].element_bytes;
        for (u64 i = 0; !failure.code && i < bytes_of(c); i += size)
            if (memcmp(message(c, rank, call.to) + i, &known[c].result[i], size)) {
                complain(c, rank, "got something else at element", i / size);
                break;
            }
        for (u64 b : {call.from, call.to})
            std::fill_n(message(c, rank, b), bytes_of(c), u8{0xEE});
        for (Memory& buffer : made[c][rank]->buffer) buffer.reset();
    }

    void complain(u64 c, u64 rank, const char* what, u64 number) {
        ++problems;
        fprintf(stderr, "call %d: rank %d %s %llu\n", int(c), int(rank), what,
                static_cast<unsigned long long>(number));
    }
};

bool run_file(FILE* file, u64 seed) {
    Job job;
    u64 jobs = 0, failed = 0, calls = 0;
    while (fread(&job, sizeof job, 1, file) == 1) {
        std::vector<Call> all(job.call_count);
        if (fread(all.data(), sizeof(Call), all.size(), file) != all.size()) return false;
        job.calls = all.data();
        calls += all.size();
        if (!Run(job, seed).run()) {
            ++failed;
            fprintf(stderr, "job %d failed\n", int(jobs));
        }
        ++jobs;
    }
    printf("%d jobs, %d calls, %d failed\n", int(jobs), int(calls), int(failed));
    return jobs > 0 && failed == 0;
}

}  // namespace
}  // namespace nvrar

// sanitized FILE SEED
int main(int count, char** words) {
    FILE* file = count == 3 ? fopen(words[1], "rb") : nullptr;
    if (!file) return 2;
    const bool is_well = nvrar::run_file(file, strtoull(words[2], nullptr, 10));
    fclose(file);
    return is_well ? 0 : 1;
}
