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

# A GPU's fabric, read by a host's compiler, with every thread of the launch a thread; and what it
# calls of NVSHMEM, in memory that all ranks map.
_NVSHMEM = '#include "fabric/nvshmem.cuh"'
_BEFORE = """#define NVRAR_EMULATED
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)
#include <string.h>
#include <thread>
#include <vector>
"""
_PUTS = Path(__file__).with_name("puts.h")
_BEHIND = """
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
    return _BEFORE + text + _PUTS.read_text() + _BEHIND if _NVSHMEM in text else text


def main(cubin: Path, library: Path) -> None:
    built = host.build(source_of(cubin.read_bytes()), "-O1")
    link = library.with_suffix(f".{os.getpid()}")
    link.symlink_to(built)
    link.rename(library)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
