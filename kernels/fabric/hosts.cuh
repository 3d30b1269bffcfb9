// The fabric of CPU ranks on several machines. Ranks of this machine are mapped. To the others a put is a
// message of the MPI library that the job runs on; its receiver expects it from the start of the window
// on, so that MPI writes it straight to where it belongs. Two ranks make and expect the messages between
// them in the same order, which is the order in which MPI matches them.
#pragma once

#define NVRAR_MAKES_PROGRESS

#include "../arguments.cuh"

namespace nvrar {

// Functions of the MPI library and its handles, as C has them; an int travels in the low half of a word.
struct Transport {
    u64 isend;
    u64 irecv;
    u64 test;
    u64 iprobe;
    u64 communicator;
    u64 byte_type;
    u64 any_source;
    u64 any_tag;
    u64 ahead;      // chunks to each partner that may be on their way at a time; at least 1
    u64* expected;  // requests of messages to come, each at the number of its arrival flag
    u64* sent;      // requests of messages on their way, in the order in which they left
    u64 sent_count;
};

using MpiStatus = u64[32];  // larger than any library's

// MPI libraries move data while they are called: whoever waits for anything calls.
inline void make_progress(const Arguments& arguments) {
    const Transport& mpi = *arguments.transport;
    using Iprobe = int (*)(u64, u64, u64, int*, MpiStatus*);
    int found = 0;
    MpiStatus status;
    reinterpret_cast<Iprobe>(mpi.iprobe)(mpi.any_source, mpi.any_tag, mpi.communicator, &found, &status);
}

}  // namespace nvrar

#include "mapped.cuh"

namespace nvrar {

struct Fabric : MappedFabric {
    static constexpr bool kPutsFromStaging = false;  // any memory will do, but until `await_puts`
    static constexpr bool kSendsMessages = true;

    bool is_mapped(u32 rank) const { return table()[rank] != nullptr; }

    void put_signal(u32 rank, u64 offset, const void* source, u32 bytes, u64 flag_offset,
                    u64 value) const {
        if (is_mapped(rank))
            copy_and_signal(rank, offset, source, bytes, flag_offset, value);
        else
            put(rank, offset, source, bytes);
    }

    u32 chunks_ahead() const { return static_cast<u32>(transport().ahead); }

    void put(u32 rank, u64, const void* source, u32 bytes) const {
        Transport& mpi = transport();
        using Isend = int (*)(const void*, u64, u64, u64, u64, u64, u64*);
        reinterpret_cast<Isend>(mpi.isend)(source, bytes, mpi.byte_type, rank, kTag,
                                           mpi.communicator, &mpi.sent[mpi.sent_count++]);
    }

    void expect(u32 from, u64 offset, u32 bytes, u64 flag_offset) const {
        Transport& mpi = transport();
        using Irecv = int (*)(void*, u64, u64, u64, u64, u64, u64*);
        reinterpret_cast<Irecv>(mpi.irecv)(own_staging() + offset, bytes, mpi.byte_type, from, kTag,
                                           mpi.communicator, &mpi.expected[number(flag_offset)]);
    }

    bool await_message(const Place& place, u64 flag_offset, u64 value) const {
        return complete(transport().expected[number(flag_offset)], place, value);
    }

    // Until the sources of the puts first .. first + count of this window may be written again.
    bool await_puts(u64 first, u64 count, const Place& place, u64 value) const {
        Transport& mpi = transport();
        for (u64 i = first; i < smaller(first + count, mpi.sent_count); ++i)
            if (!complete(mpi.sent[i], place, value)) return false;
        return true;
    }

    bool await_all_puts(const Place& place, u64 value) const {
        Transport& mpi = transport();
        if (!await_puts(0, mpi.sent_count, place, value)) return false;
        mpi.sent_count = 0;
        return true;
    }

    void settle(u64, u64, u64) const {}

   private:
    static constexpr u64 kTag = 0;

    Transport& transport() const { return *arguments.transport; }
    u64 number(u64 flag_offset) const {
        return (flag_offset - arguments.layout.arrival_flags) / sizeof(u64);
    }

    // A request that was completed is null, and completes at once.
    bool complete(u64& request, const Place& place, u64 value) const {
        using Test = int (*)(u64*, int*, MpiStatus*);
        const auto test = reinterpret_cast<Test>(transport().test);
        return Waiter::until(arguments, place, value, [&] {
            int done = 0;
            MpiStatus status;
            return test(&request, &done, &status) == 0 && done;
        });
    }
};

}  // namespace nvrar

#define NVRAR_ENTRY(T, OP, PROTOCOL)                                        \
    NVRAR_KERNEL nvrar_all_reduce(const nvrar::Arguments* arguments) {      \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(*arguments);       \
    }
