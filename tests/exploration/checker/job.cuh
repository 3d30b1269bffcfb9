// Jobs of whole calls, whose inputs are hashed and whose results are known bit by bit. The checker runs
// them on fibers, the sanitizers' driver on threads. A fabric and all_reduce.cuh come first.
#pragma once

#include <cstring>
#include <type_traits>
#include <vector>

#include "all_reduce.cuh"

namespace nvrar {
namespace checking {

// One call of all ranks; `arguments` holds what is the same on all of them.
struct Call {
    Arguments arguments;
    u64 protocol;  // 0 signal, 1 packet
    u64 row;       // element type and operation: an index of NVRAR_ROWS
    u64 threads;
    u64 from, to;     // buffer 0 or 1 that holds the input, and that takes the result
    u64 shift;        // bytes from a buffer's start to the message
    u64 starts_over;  // 0, or the epoch at which all go on with cleared staging memory
};

struct Job {
    const Call* calls;
    u64 call_count;
    u64 ranks;
    u64 ranks_per_node;
    u64 nodes;
    u64 fibers_per_rank;
    u64 buffer_bytes;      // of the largest message, and what it is shifted by
    u64 staging_bytes[2];  // by protocol
    u64 first_epoch;
    u64 epoch_slots;
    u64 is_lazy;  // messages move only while their ranks call MPI
    u64 absent;   // 0, or 1 + the rank that makes no call: then every wait must end in a failure
};

// What differs from rank to rank of what a launch is told, but for addresses.
inline void seat_at(Arguments& arguments, u64 rank) {
    arguments.rank = rank;
    arguments.node = rank / arguments.ranks_per_node;
    arguments.local = rank % arguments.ranks_per_node;
    u32 first_part = 0;
    for (Step& step : arguments.step) {
        if (!step.radix) break;
        step.digit = static_cast<u32>(arguments.node / step.stride % step.radix);
        step.first_part = first_part;
        first_part += step.digit * step.digit_parts;
    }
}

// A pseudo-random element. Integers have all bits, so that sums wrap; floats are exact in no partial
// sum: another order gives other bits.
template <typename T>
T input_element(u64 call, u64 rank, u64 index) {
    u64 hash = (call * 1000003 + rank) * 1000003 + index + 1;
    for (int i = 0; i < 2; ++i) hash = (hash ^ (hash >> 31)) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
    if constexpr (std::is_integral_v<T>) {
        return static_cast<T>(hash);
    } else {
        using A = Accumulator<T>;
        constexpr int bits = sizeof(A) == 8 ? 53 : 24;
        const A unit = static_cast<A>(hash >> (64 - bits)) / static_cast<A>(u64{1} << bits);
        return narrow<T>((1 + unit) * static_cast<A>(1 << (hash & 7)));
    }
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
        for (u64 step = 0; step < a.steps; ++step) run(a.step[step].stride, step);
    }

    T result() const { return of_node[0]; }

   private:
    void keep(u64 node, Accumulator<T> total, bool is_final) {
        const u64 ranks = arguments.nodes * arguments.ranks_per_node;
        of_node[node] = narrow<T>(is_final ? Op::finish(total, ranks) : total);
    }

    void run(u64 stride, u64 step) {
        const std::vector<T> before = of_node;
        const u64 radix = arguments.step[step].radix;
        for (u64 node = 0; node < arguments.core_nodes; ++node) {
            const u64 first = node - node / stride % radix * stride;
            Accumulator<T> total = widen<T>(before[first]);
            for (u64 digit = 1; digit < radix; ++digit)
                total = Op::combine(total, widen<T>(before[first + digit * stride]));
            keep(node, total, step + 1 == arguments.steps);
        }
    }
};

// An element type and an operation: the kernel for them, and what goes in and comes out.
struct Row {
    u64 element_bytes;
    void (*run)(const Arguments& arguments, u64 protocol);
    void (*input)(u64 call, u64 rank, u64 index, void* element);
    void (*result)(const Arguments& arguments, u64 call, u64 index, void* element);
    double (*value)(const void* element);
};

template <typename T, typename Op>
constexpr Row row() {
    return {sizeof(T),
            [](const Arguments& arguments, u64 protocol) {
                if (protocol == 0)
                    all_reduce<T, Op, Signal>(arguments);
                else
                    all_reduce<T, Op, Packet>(arguments);
            },
            [](u64 call, u64 rank, u64 index, void* element) {
                const T value = input_element<T>(call, rank, index);
                memcpy(element, &value, sizeof value);
            },
            [](const Arguments& arguments, u64 call, u64 index, void* element) {
                const T value = Reference<T, Op>(arguments, call, index).result();
                memcpy(element, &value, sizeof value);
            },
            [](const void* element) {
                T value;
                memcpy(&value, element, sizeof value);
                return static_cast<double>(widen<T>(value));
            }};
}

// What call `c` of a job starts from on each rank, and ends with on all.
struct Known {
    std::vector<std::vector<u8>> inputs;  // by rank
    std::vector<u8> result;

    Known(const Row& row, const Call& call, u64 c, u64 ranks)
        : inputs(ranks, std::vector<u8>(call.arguments.count * row.element_bytes)),
          result(call.arguments.count * row.element_bytes) {
        for (u64 i = 0; i < call.arguments.count; ++i) {
            for (u64 rank = 0; rank < ranks; ++rank)
                row.input(c, rank, i, &inputs[rank][i * row.element_bytes]);
            row.result(call.arguments, c, i, &result[i * row.element_bytes]);
        }
    }
};

}  // namespace checking
}  // namespace nvrar
