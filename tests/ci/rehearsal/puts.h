// What kernels call of NVSHMEM (fabric/nvshmem_calls.cuh), below the stand-in for the library: a put is
// made at once, by one thread, in words of 8 bytes that arrive whole, and read by nobody else meanwhile.
// Like a network it waits for no other thread of the block: what they have not written yet is not sent.
#include <atomic>

extern "C" void* nvshmem_ptr(const void* at, int rank);

namespace stub {

using Word = unsigned long;

inline void copy(void* to, const void* from, Word bytes) {
    auto* const target = static_cast<std::atomic<Word>*>(to);
    const auto* const source = static_cast<const std::atomic<Word>*>(from);
    const Word words = bytes / sizeof(Word), whole = words * sizeof(Word);
    for (Word w = 0; w < words; ++w)
        target[w].store(source[w].load(std::memory_order_relaxed), std::memory_order_relaxed);
    memcpy(static_cast<char*>(to) + whole, static_cast<const char*>(from) + whole, bytes - whole);
}

inline std::atomic<Word>& remote(Word* flag, int pe) {
    return *static_cast<std::atomic<Word>*>(nvshmem_ptr(flag, pe));
}

}  // namespace stub

extern "C" void nvrar_put(void* target, const void* source, unsigned long bytes, int pe) {
    if (nvrar::thread_index() == 0) stub::copy(nvshmem_ptr(target, pe), source, bytes);
}

extern "C" void nvrar_put_signal(void* target, const void* source, unsigned long bytes,
                                 unsigned long* flag, unsigned long value, int pe) {
    if (nvrar::thread_index() != 0) return;
    stub::copy(nvshmem_ptr(target, pe), source, bytes);
    stub::remote(flag, pe).store(value, std::memory_order_release);
}

// The data came with the flag.
extern "C" void nvrar_settle(unsigned long*, unsigned long) {}
