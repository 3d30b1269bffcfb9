// Kernels of the stub driver: a CPU's build of each is loaded in place of the GPU's, and runs as threads.
//
// Code is the path of such a build, or a cubin. Of a cubin the program $STUB_RESOLVER finds the build, and
// links it under the name that it is given; the links lie in the folder $STUB_BUILDS.
#pragma once

#include <dlfcn.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "fabric/loopback.cuh"

namespace stub {

using Word = uint64_t;

// `sms=16 memory=1000` in $STUB_GPU: what this GPU is, other than by default.
inline Word knob(const std::string& name, Word otherwise) {
    const char* const set = getenv("STUB_GPU");
    const std::string all = std::string(" ") + (set ? set : "");
    const size_t at = all.find(" " + name + "=");
    return at == std::string::npos ? otherwise : strtoull(&all[at + name.size() + 2], nullptr, 10);
}

struct Kernel {
    void* code;
    int arguments;   // of a word each
    int blocks_at;   // which argument repeats the number of blocks, -1 if none
    bool holds;
    size_t by_value; // bytes of the one argument of an all-reduce; 0: words
};

inline Kernel describe(const std::string& name, void* code) {
    if (name == "nvrar_hold") return {code, 4, -1, true, 0};
    if (name == "nvrar_fill_memory" || name == "nvrar_read_memory") return {code, 3, 2, false, 0};
    if (name == "nvrar_spin") return {code, 1, -1, false, 0};
    if (name == "nvrar_spoil") return {code, 9, 2, false, 0};
    if (name == "nvrar_flag_latency") return {code, 6, -1, false, 0};
    if (name.find("nvrar_check_exact") == 0) return {code, 10, 2, false, 0};
    if (name.find("nvrar_check_rounding") == 0) return {code, 11, 2, false, 0};
    if (name.find("nvrar_inputs") == 0) return {code, 7, 2, false, 0};
    if (name.find("nvrar_expected") == 0) return {code, 4, 2, false, 0};
    if (name.find("nvrar_reference") == 0) return {code, 5, 3, false, 0};
    if (name == "nvrar_launch") return {code, 1, -1, false, sizeof(nvrar::VirtualRanks)};
    if (name == "nvrar_launch_one") return {code, 1, -1, false, sizeof(nvrar::Arguments)};
    return {code, 0, -1, false, 0};
}

// What is behind the last header and the last section: cuLibraryLoadData is told no length.
inline size_t elf_bytes(const char* code) {
    const auto* const elf = reinterpret_cast<const Elf64_Ehdr*>(code);
    size_t end = std::max(elf->e_shoff + elf->e_shnum * elf->e_shentsize,
                          elf->e_phoff + elf->e_phnum * elf->e_phentsize);
    for (int s = 0; s < elf->e_shnum; ++s) {
        const char* const at = code + elf->e_shoff + s * elf->e_shentsize;
        const auto* const section = reinterpret_cast<const Elf64_Shdr*>(at);
        if (section->sh_type != SHT_NOBITS)
            end = std::max<size_t>(end, section->sh_offset + section->sh_size);
    }
    return end;
}

inline std::string hash_of(const char* code, size_t bytes) {
    Word hash = 14695981039346656037u;  // FNV-1a
    for (size_t b = 0; b < bytes; ++b) hash = (hash ^ static_cast<uint8_t>(code[b])) * 1099511628211u;
    char text[17];
    snprintf(text, sizeof text, "%016lx", hash);
    return text;
}

inline void* load_cubin(const char* code) {
    const char* const folder = getenv("STUB_BUILDS");
    const char* const resolver = getenv("STUB_RESOLVER");
    if (!folder || !resolver) return nullptr;
    const size_t bytes = elf_bytes(code);
    const std::string library = std::string(folder) + "/" + hash_of(code, bytes) + ".so";
    if (access(library.c_str(), R_OK) != 0) {
        const std::string cubin = library + "." + std::to_string(getpid()) + ".cubin";
        FILE* const file = fopen(cubin.c_str(), "wb");
        if (!file || fwrite(code, 1, bytes, file) != bytes || fclose(file) != 0) return nullptr;
        const std::string command = std::string(resolver) + " " + cubin + " " + library;
        const int status = system(command.c_str());
        unlink(cubin.c_str());
        if (status != 0) return nullptr;
    }
    return dlopen(library.c_str(), RTLD_NOW);
}

inline void* load(const char* code) {
    return memcmp(code, ELFMAG, SELFMAG) == 0 ? load_cubin(code) : dlopen(code, RTLD_NOW);
}

// An all-reduce of virtual ranks, or of one, is called by another name (resolve.py).
inline bool find(void* library, const std::string& name, Kernel& found) {
    for (const char* entry : {"nvrar_launch", "nvrar_launch_one"}) {
        void* const code = name == "nvrar_all_reduce" ? dlsym(library, entry) : nullptr;
        if (code) return found = describe(entry, code), true;
    }
    void* const code = dlsym(library, name.c_str());
    return found = describe(name, code), code != nullptr;
}

// Arguments as the driver copies them when a kernel is launched.
struct Launch {
    Kernel kernel;
    unsigned rows, blocks, threads;
    std::vector<Word> words;
    std::shared_ptr<std::vector<max_align_t>> block;
};

inline Launch copied(const Kernel& kernel, unsigned rows, unsigned blocks, unsigned threads,
                     Word** arguments) {
    Launch made{kernel, rows, blocks, threads, {}, nullptr};
    if (kernel.by_value) {
        const size_t units = kernel.by_value / sizeof(max_align_t) + 1;
        made.block = std::make_shared<std::vector<max_align_t>>(units);
        memcpy(made.block->data(), arguments[0], kernel.by_value);
        return made;
    }
    for (int i = 0; i < kernel.arguments; ++i) made.words.push_back(*arguments[i]);
    return made;
}

// False: not yet. `ms` grows by what it takes on this GPU's own clock: 5 us; an all-reduce takes 0.1 ns
// more for each element and 0.1 us for each block of a rank.
inline bool run(const Launch& launch, double* ms) {
    static const unsigned most = knob("threads", 4);
    const std::vector<Word>& a = launch.words;
    if (launch.kernel.holds && *reinterpret_cast<volatile Word*>(a[0]) < a[2]) return false;
    *ms += 0.005;
    if (launch.block) {
        if (knob("stuck", 0)) return false;
        const auto* const ranks = reinterpret_cast<const nvrar::VirtualRanks*>(launch.block->data());
        using Code = void (*)(const void*, int, int, int);
        reinterpret_cast<Code>(launch.kernel.code)(ranks, launch.rows, launch.blocks,
                                                   std::min(launch.threads, most));
        *ms += 1e-7 * ranks->rank[0].count + 1e-4 * ranks->rank[0].blocks;
        return true;
    }
    std::vector<Word> w = a;
    w.resize(11);
    using Code = void (*)(Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word);
    reinterpret_cast<Code>(launch.kernel.code)(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8],
                                               w[9], w[10]);
    return true;
}

}  // namespace stub
