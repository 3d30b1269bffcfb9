// Explorers over the checker. A schedule is what it does otherwise than the default, in which
// a fiber goes on as long as it can, then the next in turn; what is on its way moves when nobody can.
#pragma once

#include "runner.cuh"

namespace nvrar {
namespace checking {

struct Settings {
    u64 late_stores, fine, pieces_at_once, seed;
};

// What an exploration came to. `deviations` make the first failing schedule, minimised.
struct Outcome {
    u64 schedules;
    u64 steps;    // choices, over all schedules
    u64 longest;  // of a schedule
    u64 is_complete;
    u64 deviation_count;
    Deviation deviations[4096];
    Settings settings;
    char failure[2000];
};

using Deviations = std::vector<Deviation>;

// Of CPU time: other load does not make an exploration a smaller one.
inline double seconds_now() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

class Explorer {
   public:
    Explorer(Jobs& j, Outcome& o, double seconds)
        : jobs(j), outcome(o), until(seconds_now() + seconds) {
        outcome.schedules = outcome.steps = outcome.longest = 0;
        outcome.is_complete = outcome.deviation_count = 0;
        outcome.failure[0] = 0;
    }

    void replay(const Settings& settings, const Deviations& schedule) {
        set(settings);
        if (follow(schedule)) tell(engine.taken);
    }

    // All schedules with up to `bound` deviations. False once one has failed.
    bool bounded(const Settings& settings, u64 bound) {
        set(settings);
        outcome.is_complete = 1;
        return extend({}, bound);
    }

    // A schedule for each seed: half of them by priorities that change at a few points, half by dice.
    bool random(u64 first_seed, u64 count) {
        outcome.is_complete = 1;
        u64 length = 100;
        for (u64 seed = first_seed; seed < first_seed + count; ++seed) {
            if (is_late()) return true;
            set({seed >> 1 & 1, seed >> 2 & 1, u64{1} << (seed % 3 * 3), seed});
            const bool failed = seed & 1 ? by_priority(seed, length) : by_dice(seed);
            if (failed) return minimise(), false;
            length = engine.widths.size() + 1;
        }
        return true;
    }

   private:
    Jobs& jobs;
    Outcome& outcome;
    double until;

    bool is_late() {
        if (seconds_now() < until) return false;
        outcome.is_complete = 0;
        return true;
    }

    void set(const Settings& settings) {
        engine.late_stores = settings.late_stores;
        engine.fine = settings.fine;
        engine.pieces_at_once = settings.pieces_at_once;
        engine.seed = settings.seed;
        outcome.settings = settings;
    }

    // Whether the schedule failed.
    bool run() {
        jobs.run();
        ++outcome.schedules;
        outcome.steps += engine.widths.size();
        outcome.longest = std::max<u64>(outcome.longest, engine.widths.size());
        return !engine.failure.empty();
    }

    bool follow(const Deviations& schedule) {
        Word next = 0;
        engine.choose = [&schedule, next](Word step, Word) mutable -> Word {
            while (next < schedule.size() && schedule[next].step < step) ++next;
            return next < schedule.size() && schedule[next].step == step ? schedule[next].choice : 0;
        };
        return run();
    }

    bool extend(const Deviations& schedule, u64 bound) {
        if (is_late()) return true;
        if (follow(schedule)) {
            minimise();
            return false;
        }
        if (schedule.size() == bound) return true;
        const std::vector<Byte> widths = engine.widths;
        const Word first = schedule.empty() ? 0 : schedule.back().step + 1;
        for (Word step = first; step < widths.size(); ++step)
            for (Word choice = 1; choice < widths[step]; ++choice) {
                Deviations longer = schedule;
                longer.push_back({step, choice});
                if (!extend(longer, bound)) return false;
                if (!outcome.is_complete) return true;
            }
        return true;
    }

    bool by_dice(u64 seed) {
        std::mt19937_64 dice(seed * 2 + 1);
        const u64 sides = u64{2} << (seed >> 3) % 5;
        engine.choose = [&dice, sides](Word, Word choices) {
            return dice() % sides == 0 ? dice() % choices : 0;
        };
        return run();
    }

    // The candidate of the highest priority goes on; at a few steps that one falls behind all others.
    bool by_priority(u64 seed, u64 length) {
        std::mt19937_64 dice(seed * 2 + 1);
        std::vector<u64> priority(engine.fibers.size());
        for (u64& value : priority) value = 1000 + dice() % (u64{1} << 62);
        std::vector<u64> changes(1 + seed / 8 % 5);
        for (u64& change : changes) change = dice() % length;
        u64 lowest = 1000;
        const auto of = [&priority](int candidate) -> u64& {
            const int fibers = static_cast<int>(priority.size());
            return candidate < fibers ? priority[candidate] : engine.movers[candidate - fibers]->priority;
        };
        engine.choose = [&](Word step, Word choices) {
            const auto best = [&] {
                Word found = 0;
                for (Word i = 1; i < choices; ++i)
                    if (of(engine.candidates[i]) > of(engine.candidates[found])) found = i;
                return found;
            };
            if (std::count(changes.begin(), changes.end(), step))
                of(engine.candidates[best()]) = --lowest;
            return best();
        };
        return run();
    }

    // Drops deviations as long as what is left still fails.
    void minimise() {
        Deviations kept = engine.taken;
        tell(kept);
        const double limit = seconds_now() + 10;
        for (Word part = std::max<Word>(kept.size() / 2, 1);; part = std::max<Word>(part / 2, 1)) {
            bool has_dropped = false;
            for (Word at = 0; at < kept.size() && seconds_now() < limit;) {
                Deviations fewer(kept.begin(), kept.begin() + static_cast<long>(at));
                const Word behind = std::min<Word>(at + part, kept.size());
                fewer.insert(fewer.end(), kept.begin() + static_cast<long>(behind), kept.end());
                if (follow(fewer) && engine.taken.size() < kept.size()) {
                    kept = engine.taken;
                    tell(kept);
                    has_dropped = true;
                } else {
                    at += part;
                }
            }
            if (seconds_now() >= limit || (part == 1 && !has_dropped)) return;
        }
    }

    void tell(const Deviations& schedule) {
        outcome.deviation_count = std::min<Word>(schedule.size(), 4096);
        std::copy_n(schedule.begin(), outcome.deviation_count, outcome.deviations);
        snprintf(outcome.failure, sizeof outcome.failure, "%s", engine.failure.c_str());
    }
};

}  // namespace checking
}  // namespace nvrar

// Of rows such as nvrar::checking::row<float, nvrar::Sum>(): what opens a job, and runs one schedule, all
// schedules with a bound, and random ones.
#define NVRAR_CHECK(...)                                                                           \
    static const nvrar::checking::Row checked_rows[] = {__VA_ARGS__};                              \
    static nvrar::checking::Jobs* checked_jobs;                                                    \
    inline void nvrar_leave(void* target, const void* source, unsigned long bytes,                 \
                            unsigned long* flag, unsigned long value, int pe) {                    \
        checked_jobs->leave(target, source, bytes, flag, value, pe);                               \
    }                                                                                              \
    extern "C" void nvrar_open(const nvrar::checking::Job* job) {                                  \
        delete checked_jobs;                                                                       \
        nvrar::checking::engine.watch = nullptr; /* one engine for all libraries of a process */   \
        checked_jobs = new nvrar::checking::Jobs(*job, checked_rows);                              \
        nvrar::checking::engine.has_deadlines = job->absent != 0;                                  \
    }                                                                                              \
    extern "C" void nvrar_replay(const nvrar::checking::Settings* settings,                        \
                                 const nvrar::checking::Deviation* schedule, nvrar::u64 count,     \
                                 nvrar::checking::Outcome* outcome) {                              \
        nvrar::checking::Explorer(*checked_jobs, *outcome, 1e9)                                    \
            .replay(*settings, {schedule, schedule + count});                                      \
    }                                                                                              \
    extern "C" void nvrar_bounded(const nvrar::checking::Settings* settings, nvrar::u64 bound,     \
                                  double seconds, nvrar::checking::Outcome* outcome) {             \
        nvrar::checking::Explorer(*checked_jobs, *outcome, seconds)                                \
            .bounded(*settings, bound);                                                            \
    }                                                                                              \
    extern "C" void nvrar_random(nvrar::u64 first_seed, nvrar::u64 count, double seconds,          \
                                 nvrar::checking::Outcome* outcome) {                              \
        nvrar::checking::Explorer(*checked_jobs, *outcome, seconds)                                \
            .random(first_seed, count);                                                            \
    }
