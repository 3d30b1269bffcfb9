// ThreadSanitizer follows atomic loads and stores, and knows nothing of fences (GCC says so: -Wtsan). The
// kernel fences its calls from each other, so what fences do is told here, as the C++ standard has it
// ([atomics.fences]), and no more than that:
//
// - A fence that releases notes what its thread has done. A relaxed store publishes the latest note.
// - A relaxed load collects what the store that it reads from has published. A fence that acquires makes
//   it known to its thread.
//
// Notes and collections are the clocks of two fibers of ThreadSanitizer for each thread. They never run:
// the thread enters one, releases or acquires with its clock, and is back.
//
// A load that reads an older value collects too if its store is on its way just then; so does a load from a
// release store. Both only between a cell's flag and its poll, in which no plain memory takes part.
#pragma once

#include <sanitizer/tsan_interface.h>

#include <cuda/atomic>

namespace told {

class Fiber {
   public:
    Fiber() : fiber(__tsan_create_fiber(0)) {}
    ~Fiber() { __tsan_destroy_fiber(fiber); }
    Fiber(const Fiber&) = delete;

    template <typename Step>
    void as(Step step) const {
        void* const thread = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
        step();
        __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync);
    }

   private:
    void* const fiber;
};

// Of each thread.
struct Order {
    Fiber noted, collected;
    char note, collection;

    void fence() {
        collected.as([this] { __tsan_release(&collection); });
        __tsan_acquire(&collection);
        __tsan_release(&note);
        noted.as([this] { __tsan_acquire(&note); });
    }
    void publish(void* address) const {
        noted.as([address] { __tsan_release(address); });
    }
    void collect(void* address) const {
        collected.as([address] { __tsan_acquire(address); });
    }
};

inline Order& order() {
    thread_local Order of_thread;
    return of_thread;
}

}  // namespace told

namespace cuda {

// Atomic references of libcu++, which tell what they do relaxed.
template <typename T, thread_scope Scope>
class told_ref {
   public:
    explicit told_ref(T& value) : at(&value), own(value) {}

    T load(memory_order order) const {
        const T value = own.load(order);
        if (order == memory_order_relaxed) told::order().collect(at);
        return value;
    }
    void store(T value, memory_order order) const {
        if (order == memory_order_relaxed) told::order().publish(at);
        own.store(value, order);
    }
    bool compare_exchange_strong(T& expected, T wanted, memory_order order) const {
        return own.compare_exchange_strong(expected, wanted, order);
    }

   private:
    T* at;
    atomic_ref<T, Scope> own;
};

inline void told_fence(memory_order, thread_scope) { told::order().fence(); }

}  // namespace cuda

#define atomic_ref told_ref
#define atomic_thread_fence told_fence
