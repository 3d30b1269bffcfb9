// What the checker runs on: every thread of every rank is a fiber of one OS thread, and
// whatever another rank can see is a point at which a scheduler chooses who goes on. Three models:
//
// - Order: at a point any fiber may go on, or anything on its way may move by a piece.
// - Late stores: where `late_stores`, what a fiber writes to plain memory is seen by others only after
//   it has released something. Flags and cells are seen at once, and so overtake what came first.
// - Happened before: vector clocks follow release, acquire, barriers and fences. Two accesses to plain
//   memory, one of them a store, that nothing orders are a failure in whatever order they came.
//
// platform.cuh includes this header first of all, so it knows nothing of the kernel.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace nvrar {
namespace checking {

using Word = std::uint64_t;
using Byte = unsigned char;

constexpr int kMaxFibers = 64;
constexpr int kMaxRanks = 16;
constexpr int kClocks = kMaxFibers + kMaxRanks;  // each rank's network has one as well
constexpr int kStackBytes = 128 << 10;
constexpr Word kMaxSteps = 400000;  // choices of one run: more is a run that does not end
constexpr int kMaxWakes = 200;      // deadlines that pass before a wait counts as unbounded

// How far each fiber, and each network, is known to have come.
struct Clock {
    std::uint32_t at[kClocks] = {};

    void join(const Clock& other) {
        for (int i = 0; i < kClocks; ++i) at[i] = std::max(at[i], other.at[i]);
    }
};

// A store that others do not see yet. Kept are the new bytes while its fiber is away, else the old.
struct LateStore {
    Byte* target;
    Word bytes;
    Byte kept[64];
};

struct Fiber {
    int id = 0;
    int rank = 0;
    int index = 0;  // among the fibers of its rank
    int block = 0, thread = 0, threads = 1;
    int call = 0;
    bool is_done = false;
    bool is_awake = false;           // its deadline may have passed: it looks again
    bool is_in_library = false;      // it calls MPI, now or in what it polls
    const Word* polled = nullptr;    // it waits for this word to differ from `seen`
    Word seen = 0;
    const Word* last_address = nullptr;  // its latest load
    Word last_value = 0;
    Clock clock;
    Clock fenced;      // at the latest fence: relaxed stores after it tell this much
    Clock overheard;   // by relaxed loads: the next fence makes it known
    std::vector<LateStore> late;
    ucontext_t context;
    std::unique_ptr<Byte[]> stack;
};

// All fibers of a block, of a rank or of the world meet here.
struct Barrier {
    Word generation = 0;
    int arrived = 0;
    bool is_refused = false;
    bool verdict = true;
    Clock gathered, passed;
};

// What moves by itself, a step at a time, when the scheduler says so.
struct Mover {
    Word priority = 0;

    virtual ~Mover() = default;
    virtual bool may_move() const { return true; }
    virtual bool move() = 0;  // whether nothing is left to do
};

// What left through the network: pieces of 8 bytes arrive in any order, then the signal.
struct Put : Mover {
    int rank;
    Byte* target;
    const Byte* source;
    std::vector<Word> pieces;  // offsets that have not arrived
    Word bytes;
    Word* flag;
    Word value;
    bool is_plain;  // not cells
    Clock clock, fenced;

    bool move() override;
};

struct Access {
    int actor = -1;
    std::uint32_t tick = 0;
};
struct Shadow {
    Access write;
    Access reads[8];
};

struct Deviation {
    Word step, choice;
};

struct Block {
    Word first, bytes;
    std::string name;
};

constexpr Word kGranule = 1;  // threads share the bytes of a tail

class Engine {
   public:
    // Set by who drives it.
    bool late_stores = false;
    bool fine = false;      // loads are points too
    bool has_deadlines = false;  // when all wait, time passes, and data is worth nothing
    Word seed = 0;
    Word pieces_at_once = 1;
    std::function<Word(Word step, Word choices)> choose;
    std::function<void(Fiber&)> life;
    std::function<void(const Byte*, Word, bool is_write)> watch;  // sees what fibers access; or none

    // What came of the latest run.
    std::string failure;
    std::vector<Byte> widths;  // choices at each step
    std::vector<Deviation> taken;

    std::vector<Fiber> fibers;
    std::vector<std::unique_ptr<Mover>> movers;
    Fiber* now = nullptr;
    std::mt19937_64 random;
    Word clock_ns = 0;
    std::vector<int> candidates;  // of the choice at hand: fibers, and behind them movers

    void arrange(int count) {
        if (static_cast<int>(fibers.size()) != count) fibers = std::vector<Fiber>(count);
        for (int i = 0; i < count; ++i) fibers[i].id = i;
    }

    void reset_memory(Word bytes) {
        if (arena.size() != bytes) {
            arena.assign(bytes, 0);
            shadow.assign(bytes / kGranule, Shadow{});
            blocks.clear();
        } else {
            std::fill(arena.begin(), arena.end(), 0);
            for (Word granule : touched) shadow[granule] = Shadow{};
        }
        touched.clear();
    }

    void name_memory(Word first, Word bytes, const std::string& name) {
        blocks.push_back({first, bytes, name});
    }

    Byte* memory(Word offset) { return arena.data() + offset; }

    void run() {
        failure.clear();
        widths.clear();
        taken.clear();
        movers.clear();
        released.clear();
        arrived.clear();
        random.seed(seed);
        clock_ns = 0;
        wakes = 0;
        std::fill(std::begin(network_ticks), std::end(network_ticks), 0);
        for (Fiber& fiber : fibers) start(fiber);
        now = nullptr;
        Fiber* first = next();
        if (first) enter(*first, main_context);
        now = nullptr;
    }

    void fail(const char* format, ...) __attribute__((format(printf, 2, 3))) {
        char text[600];
        va_list list;
        va_start(list, format);
        vsnprintf(text, sizeof text, format, list);
        va_end(list);
        if (failure.empty()) failure = text;
        if (now) setcontext(&main_context);
    }

    // The fiber that runs lets the scheduler choose.
    void point() {
        Fiber* chosen = next();
        if (!chosen) leave_all();
        if (chosen != now) enter(*chosen, now->context);
    }

    void poll(const Word* address, Word seen) {
        now->polled = address;
        now->seen = seen;
        point();
        now->polled = nullptr;
        now->is_in_library = false;
    }

    bool meet(Barrier& barrier, int members, bool mine) {
        flush();
        barrier.gathered.join(now->clock);
        if (!mine) barrier.is_refused = true;
        if (++barrier.arrived == members) {
            barrier.verdict = !barrier.is_refused;
            barrier.is_refused = false;
            barrier.arrived = 0;
            barrier.passed = barrier.gathered;
            barrier.gathered = Clock{};
            ++barrier.generation;
            point();
        } else {
            const Word generation = barrier.generation;
            while (barrier.generation == generation) poll(&barrier.generation, generation);
        }
        now->clock.join(barrier.passed);
        ++now->clock.at[now->id];
        return barrier.verdict;
    }

    // Flags and cells

    Word load(const Word* address, bool acquires, bool is_point) {
        if (is_point && fine) point();
        look_at(address, sizeof *address, false);
        const Word value = *address;
        now->last_address = address;
        now->last_value = value;
        const auto found = released.find(address);
        if (found != released.end()) (acquires ? now->clock : now->overheard).join(found->second);
        return value;
    }

    void store(Word* address, Word value, bool releases, bool is_point) {
        if (is_point) point();
        look_at(address, sizeof *address, true);
        if (releases) {
            flush();
            released[address] = now->clock;
            ++now->clock.at[now->id];
        } else {
            released[address] = now->fenced;
        }
        *address = value;
    }

    // A flag from the network was seen: only now is what was put before it.
    void settle(const Word* flag) {
        const auto found = arrived.find(flag);
        if (found != arrived.end()) now->clock.join(found->second);
    }

    void fence() {
        flush();
        now->clock.join(now->overheard);
        now->fenced = now->clock;
        ++now->clock.at[now->id];
    }

    // Plain memory

    void note_write(void* to, Word bytes) {
        look_at(to, bytes, true);
        record(to, bytes, true, now->id, now->clock);
        if (!late_stores) return;
        Byte* target = static_cast<Byte*>(to);
        for (Word at = 0; at < bytes; at += sizeof(LateStore::kept)) {
            LateStore store;
            store.target = target + at;
            store.bytes = std::min<Word>(bytes - at, sizeof store.kept);
            memcpy(store.kept, store.target, store.bytes);
            now->late.push_back(store);
        }
    }
    void note_read(const void* from, Word bytes) {
        look_at(from, bytes, false);
        record(from, bytes, false, now->id, now->clock);
    }

    // The network

    void put(int rank, void* target, const void* source, Word bytes, Word* flag, Word value) {
        point();
        auto made = std::make_unique<Put>();
        made->rank = rank;
        made->target = static_cast<Byte*>(target);
        made->source = static_cast<const Byte*>(source);
        made->bytes = bytes;
        made->flag = flag;
        made->value = value;
        made->is_plain = flag != nullptr;
        made->clock = leave(rank);
        made->fenced = now->fenced;
        made->priority = random();
        for (Word at = 0; at < bytes; at += 8) made->pieces.push_back(at);
        std::shuffle(made->pieces.begin(), made->pieces.end(), random);
        flush();  // what the source holds was written, and the block has met
        movers.push_back(std::move(made));
    }

    // What the network of `rank` knows of that leaves it now.
    Clock leave(int rank) {
        Clock clock = now->clock;
        clock.at[kMaxFibers + rank] = ++network_ticks[rank];
        ++now->clock.at[now->id];
        return clock;
    }

    // What the network itself does, which has seen `clock`.
    void network_accesses(const void* address, Word bytes, bool is_write, int rank, const Clock& clock) {
        record(address, bytes, is_write, kMaxFibers + rank, clock);
    }

    // What the fiber that runs has written there is in memory now.
    void expose(const void* from, Word bytes) {
        const Byte* first = static_cast<const Byte*>(from);
        std::vector<LateStore>& late = now->late;
        late.erase(std::remove_if(late.begin(), late.end(),
                                  [&](const LateStore& store) {
                                      return store.target < first + bytes &&
                                             first < store.target + store.bytes;
                                  }),
                   late.end());
    }

    // What an address is of.
    std::string place(const void* address) const {
        const Byte* at = static_cast<const Byte*>(address);
        if (at < arena.data() || at >= arena.data() + arena.size()) return "a barrier or a request";
        const Word offset = static_cast<Word>(at - arena.data());
        for (const Block& block : blocks)
            if (offset >= block.first && offset < block.first + block.bytes)
                return block.name + "+" + std::to_string(offset - block.first);
        return "memory of nobody";
    }

   private:
    friend struct Put;

    std::vector<Byte> arena;
    std::vector<Shadow> shadow;
    std::vector<Word> touched;
    std::vector<Block> blocks;
    std::unordered_map<const Word*, Clock> released;
    std::unordered_map<const Word*, Clock> arrived;  // with flags from the network
    std::uint32_t network_ticks[kMaxRanks] = {};
    int wakes = 0;
    ucontext_t main_context;

    void start(Fiber& fiber) {
        fiber.is_done = fiber.is_awake = fiber.is_in_library = false;
        fiber.polled = fiber.last_address = nullptr;
        fiber.call = 0;
        fiber.clock = Clock{};
        fiber.clock.at[fiber.id] = 1;
        fiber.fenced = fiber.overheard = Clock{};
        fiber.late.clear();
        if (!fiber.stack) fiber.stack.reset(new Byte[kStackBytes]);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackBytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, &Engine::begin, 0);
    }

    static void begin();

    void swap_late(Fiber& fiber, bool leaves) {
        const Word count = fiber.late.size();
        for (Word i = 0; i < count; ++i) {
            LateStore& store = fiber.late[leaves ? count - 1 - i : i];
            std::swap_ranges(store.kept, store.kept + store.bytes, store.target);
        }
    }

    void enter(Fiber& fiber, ucontext_t& from) {
        if (now) swap_late(*now, true);
        now = &fiber;
        swap_late(fiber, false);
        swapcontext(&from, &fiber.context);
    }

    void leave_all() { setcontext(&main_context); }

    void flush() { now->late.clear(); }

    static bool is_ready(const Fiber& fiber) {
        return !fiber.is_done && (!fiber.polled || fiber.is_awake || *fiber.polled != fiber.seen);
    }

    // First the fiber that runs, then the others in turn, last what is on its way.
    void collect() {
        candidates.clear();
        const int count = static_cast<int>(fibers.size());
        const int first = now ? now->id : 0;
        for (int i = 0; i < count; ++i)
            if (is_ready(fibers[(first + i) % count])) candidates.push_back((first + i) % count);
        for (Word m = 0; m < movers.size(); ++m)
            if (movers[m]->may_move()) candidates.push_back(count + static_cast<int>(m));
    }

    // The fiber that goes on, or none: the run has ended.
    Fiber* next() {
        for (;;) {
            collect();
            if (candidates.empty()) {
                if (pass_time()) continue;
                return nullptr;
            }
            const int chosen = candidates[pick()];
            if (chosen < static_cast<int>(fibers.size())) {
                fibers[chosen].is_awake = false;
                return &fibers[chosen];
            }
            const auto mover = movers.begin() + (chosen - static_cast<int>(fibers.size()));
            if ((*mover)->move()) movers.erase(mover);
        }
    }

    Word pick() {
        if (candidates.size() == 1) return 0;
        const Word step = widths.size();
        if (step > kMaxSteps) fail("the run does not end");
        widths.push_back(static_cast<Byte>(std::min<Word>(candidates.size(), 255)));
        const Word choice = choose(step, candidates.size()) % candidates.size();
        if (choice) taken.push_back({step, choice});
        return choice;
    }

    bool pass_time() {
        bool all_done = true;
        for (const Fiber& fiber : fibers) all_done = all_done && fiber.is_done;
        if (all_done) return false;
        if (has_deadlines && wakes++ < kMaxWakes) {
            clock_ns += 1000000000;
            for (Fiber& fiber : fibers) fiber.is_awake = !fiber.is_done;
            return true;
        }
        std::string who;
        for (const Fiber& fiber : fibers)
            if (!fiber.is_done)
                who += " rank " + std::to_string(fiber.rank) + " fiber " + std::to_string(fiber.index) +
                       " call " + std::to_string(fiber.call) + " waits for " + place(fiber.polled) +
                       " to leave " + std::to_string(fiber.seen) + ";";
        if (failure.empty()) failure = "nobody can go on:" + who.substr(0, 1200);
        return false;
    }

    // What was not ordered before `actor`, which has seen `clock`.
    static bool is_unordered(const Access& access, int actor, const Clock& clock) {
        return access.actor >= 0 && access.actor != actor && access.tick > clock.at[access.actor];
    }

    void look_at(const void* address, Word bytes, bool is_write) const {
        if (watch && !has_deadlines) watch(static_cast<const Byte*>(address), bytes, is_write);
    }

    void record(const void* address, Word bytes, bool is_write, int actor, const Clock& clock) {
        if (has_deadlines) return;
        const Byte* at = static_cast<const Byte*>(address);
        if (at < arena.data() || at >= arena.data() + arena.size() || bytes == 0) return;
        const Word first = static_cast<Word>(at - arena.data());
        for (Word g = first / kGranule; g <= (first + bytes - 1) / kGranule; ++g) {
            Shadow& known = shadow[g];
            if (known.write.actor < 0 && known.reads[0].actor < 0) touched.push_back(g);
            if (is_unordered(known.write, actor, clock))
                race(g, known.write, "written", actor, is_write);
            if (is_write)
                overwrite(g, known, actor, clock);
            else
                note_reader(known, {actor, clock.at[actor]}, clock);
        }
    }

    void overwrite(Word granule, Shadow& known, int actor, const Clock& clock) {
        for (Access& reader : known.reads) {
            if (is_unordered(reader, actor, clock)) race(granule, reader, "read", actor, true);
            reader = Access{};
        }
        known.write = {actor, clock.at[actor]};
    }

    static void note_reader(Shadow& known, const Access& reader, const Clock& clock) {
        for (Access& place : known.reads)
            if (place.actor < 0 || place.actor == reader.actor || place.tick <= clock.at[place.actor]) {
                place = reader;
                return;
            }
    }

    std::string actor_name(int actor) const {
        if (actor >= kMaxFibers) return "the network of rank " + std::to_string(actor - kMaxFibers);
        const Fiber& fiber = fibers[actor];
        const std::string name =
            "rank " + std::to_string(fiber.rank) + " fiber " + std::to_string(fiber.index);
        return &fiber == now ? name + " call " + std::to_string(fiber.call) : name;
    }

    void race(Word granule, const Access& earlier, const char* did, int actor, bool is_write) {
        fail("%s %s %s, which %s has %s, and nothing orders the two", actor_name(actor).c_str(),
             is_write ? "writes" : "reads", place(arena.data() + granule * kGranule).c_str(),
             actor_name(earlier.actor).c_str(), did);
    }
};

inline Engine engine;

inline bool Put::move() {
    for (Word n = 0; n < engine.pieces_at_once && !pieces.empty(); ++n) {
        const Word at = pieces.back();
        pieces.pop_back();
        const Word size = std::min<Word>(8, bytes - at);
        if (is_plain) engine.network_accesses(source + at, size, false, rank, clock);
        if (is_plain) engine.network_accesses(target + at, size, true, rank, clock);
        memcpy(target + at, source + at, size);
        if (!is_plain) engine.released[reinterpret_cast<Word*>(target + at)] = fenced;
    }
    if (!pieces.empty()) return false;
    if (flag) {
        *flag = value;
        engine.released.erase(flag);
        engine.arrived[flag] = clock;
    }
    return true;
}

inline void Engine::begin() {
    Fiber& fiber = *engine.now;
    engine.life(fiber);
    engine.flush();
    fiber.is_done = true;
    Fiber* chosen = engine.next();
    if (!chosen) engine.leave_all();
    engine.enter(*chosen, fiber.context);
}

// What portability.cuh calls

inline std::unique_ptr<Barrier[]> block_barriers(new Barrier[kMaxFibers]);

inline Fiber& current() { return *engine.now; }
inline void point() { engine.point(); }
inline void fence() { engine.fence(); }
inline Word clock_ns() { return engine.clock_ns; }
inline void note_read(const void* from, Word bytes) { engine.note_read(from, bytes); }
inline void note_write(void* to, Word bytes) { engine.note_write(to, bytes); }

// The word that was loaded last has not come to hold what is waited for.
inline void poll_again() { engine.poll(current().last_address, current().last_value); }

inline bool meet_block(bool mine) {
    const Fiber& fiber = current();
    if (fiber.threads == 1) return mine;
    return engine.meet(block_barriers[fiber.id - fiber.thread], fiber.threads, mine);
}

inline void load_cells(const Word* cells, Word* seen) {
    for (int c = 0; c < 2; ++c) seen[c] = engine.load(cells + c, false, true);
}

// Either cell may be seen first.
inline void store_cells(Word* cells, const Word* packets) {
    const int first = static_cast<int>(engine.random() & 1);
    engine.store(cells + first, packets[first], false, true);
    engine.store(cells + (1 - first), packets[1 - first], false, engine.fine);
}

}  // namespace checking
}  // namespace nvrar

// Atomic accesses of the kernel, in place of those of libcu++.
namespace cuda {

template <typename T, thread_scope Scope>
class checked_ref {
   public:
    explicit checked_ref(T& value) : at(&value) {}

    T load(memory_order order) const {
        using nvrar::checking::engine;
        if (Scope != thread_scope_system) return *at;
        return engine.load(at, order == memory_order_acquire || order == memory_order_seq_cst, true);
    }
    void store(T value, memory_order order) const {
        using nvrar::checking::engine;
        if (Scope != thread_scope_system) {
            *at = value;
            return;
        }
        engine.store(at, value, order == memory_order_release || order == memory_order_seq_cst, true);
    }
    bool compare_exchange_strong(T& expected, T wanted, memory_order) const {
        if (*at != expected) {
            expected = *at;
            return false;
        }
        *at = wanted;
        return true;
    }

   private:
    T* at;
};

}  // namespace cuda

#define atomic_ref checked_ref
