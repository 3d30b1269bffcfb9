"""Finds the source of a cubin in the kernel cache, and builds it for the CPU.

    python resolve.py CUBIN LIBRARY

LIBRARY becomes a link to what the host's compiler made of the source. The stub driver calls this.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.cache import cache_dir

# A GPU's fabric, read by a host's compiler, with every thread of the launch a thread. All ranks of
# one machine are mapped, so NVSHMEM's own calls are never made.
_NVSHMEM = '#include "fabric/nvshmem.cuh"'
_BEFORE = """#define NVRAR_EMULATED
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)
#include <stdlib.h>
#include <thread>
#include <vector>
"""
_BEHIND = """
extern "C" void nvrar_put(void*, const void*, unsigned long, int) { abort(); }
extern "C" void nvrar_put_signal(void*, const void*, unsigned long, unsigned long*, unsigned long,
                                 int) { abort(); }
extern "C" void nvrar_settle(unsigned long*, unsigned long) { abort(); }

extern "C" void nvrar_launch_one(const nvrar::Arguments* arguments, int, int blocks, int threads) {
    std::vector<nvrar::EmulatedBlock> all(blocks);
    std::vector<std::thread> running;
    for (int i = 0; i < blocks * threads; ++i) {
        nvrar::EmulatedBlock& block = all[i / threads];
        block.index = i / threads;
        block.threads = threads;
        running.emplace_back([=, &block] {
            nvrar::emulated = {&block, i % threads};
            nvrar_all_reduce(*arguments);
        });
    }
    for (std::thread& thread : running) thread.join();
}
"""


@dataclass(frozen=True)
class Found:
    """A kernel of the cache."""

    name: str
    source: str


def source_of(cubin: bytes) -> Found:
    """Of the entry that holds these bytes."""
    for path in cache_dir().glob("*/kernel.cubin"):
        if path.stat().st_size == len(cubin) and path.read_bytes() == cubin:
            return Found(f"{path.parent.name}-on-cpu", for_cpu(path.parent / "kernel.cu"))
    raise SystemExit(f"no cubin of {len(cubin)} bytes in {cache_dir()} is this one")


def for_cpu(source: Path) -> str:
    """What a host's compiler makes a launch of."""
    text = source.read_text()
    return _BEFORE + text + _BEHIND if _NVSHMEM in text else text


def main(cubin: Path, library: Path) -> None:
    built = host.build(source_of(cubin.read_bytes()), "-O1")
    link = library.with_suffix(f".{os.getpid()}")
    link.symlink_to(built)
    link.rename(library)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
