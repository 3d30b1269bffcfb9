"""What one GPU needs at least: how fast it copies, and how long a flag takes between two blocks.

    python ci/gpu_floor.py --ranks 8 --nodes 2 --json floor.json

Both are measured as calls of the product are: on its device, in its stream, by its timer. The
copies move the bytes that the all-reduces of ci/gpu_model.py move: a copy of n bytes reads n and
writes n, so it moves 2 n. The flag is kernels/fabric/flag_latency.cuh. Medians, warm caches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gpu_model import SLICES, cost

from nvrar_bench.backends.base import Operation
from nvrar_bench.devices.cuda.device import CudaDevice
from nvrar_bench.errors import NvrarBenchError, TimedOut
from nvrar_bench.timing.loop import Timings
from nvrar_bench.toolchain.kernel import CudaGate

SIZES = (128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20)
ROUNDS = 1000  # of ping-pong in a sample: what the launch takes is lost among 2000 hops
SAMPLES = 50
TIMEOUT_S = 10.0
_SPIN = 4096  # polls before the clock is looked at, as in the collective on GPUs
_FLAG_BYTES = 1024


@dataclass(frozen=True)
class FlagLatency:
    """kernels/fabric/flag_latency.cuh."""

    name: str = "flag-latency"
    source: str = '#include "fabric/flag_latency.cuh"\n'


class Copy(Operation):
    """Bytes from one place in GPU memory to another."""

    variant = "copy"
    stream_ordered = True

    def __init__(self, device: CudaDevice, nbytes: int) -> None:
        kind = np.dtype(np.uint8)
        self._device = device
        self._blocks = [device.memory.allocate(nbytes, "private") for _ in range(2)]
        self._target, self._source = (b.view(0, nbytes, kind) for b in self._blocks)

    def launch(self) -> None:
        """Enqueue it."""
        self._device.memory.copy(self._target, self._source)

    def close(self) -> None:
        """Give the memory back."""
        for block in self._blocks:
            self._device.memory.release(block)


class EmptyKernel(Operation):
    """A kernel that does nothing: what every kernel takes."""

    variant = "an empty kernel"
    stream_ordered = True

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self._kernel = device.context.load(device.build(CudaGate()), "nvrar_nothing")

    def launch(self) -> None:
        """Enqueue it."""
        self._device.context.launch(self._kernel, 1, 1)


class PingPong(Operation):
    """`rounds` rounds between two blocks of one launch; values go on from call to call."""

    variant = "flags between two blocks"
    stream_ordered = True

    def __init__(self, device: CudaDevice, rounds: int) -> None:
        self._device, self._rounds, self._first = device, rounds, 1
        self._kernel = device.context.load(device.build(FlagLatency()), "nvrar_flag_latency")
        device.context.require_resident(self._kernel, 2, 1)
        self._flags = device.memory.keep(np.zeros(_FLAG_BYTES, np.uint8))
        self._missed = device.memory.keep(np.zeros(1, np.uint64))

    def launch(self) -> None:
        """Enqueue it."""
        self._device.context.launch(
            self._kernel, 2, 1, self._flags.address, self._first, self._rounds, _SPIN,
            int(TIMEOUT_S * 1e9), self._missed.address,
        )  # fmt: skip
        self._first += self._rounds

    def confirm(self) -> None:
        """Say so if a flag did not come: TimedOut."""
        missed = int(self._device.memory.to_host(self._missed)[0])
        if missed:
            raise TimedOut(f"flag {missed} did not arrive in {TIMEOUT_S:g} s")


def samples_us(device: CudaDevice, operation: Operation, count: int, batch: int) -> list[float]:
    """`count` samples of `batch` calls, per call; the first call of all is not timed."""
    taken = Timings.empty(count)
    operation.launch()
    device.finish(operation)
    device.timer.time_calls(operation, _nothing, device.start_gate(), taken, batch)
    return [nanoseconds / 1e3 for nanoseconds in taken.durations.tolist()]


def _batched_us(device: CudaDevice, operation: Operation, samples: int) -> float:
    """The median, in batches as the sweeps that it is held against; of about `samples` calls."""
    batch = device.timer.batch_for(1)
    return statistics.median(samples_us(device, operation, max(3, samples // batch), batch))


def copies(device: CudaDevice, moved: Sequence[int], samples: int) -> list[dict[str, Any]]:
    """One entry for each number of moved bytes."""
    return [_copied(device, nbytes, samples) for nbytes in moved]


def _copied(device: CudaDevice, moved: int, samples: int) -> dict[str, Any]:
    operation = Copy(device, moved // 2)
    try:
        median = _batched_us(device, operation, samples)
    finally:
        operation.close()
    rate = moved / median / 1e3 if median else None  # shorter than an event resolves
    return {"moved_bytes": moved, "median_us": median, "gb_per_s": rate}


def measure(
    device: CudaDevice, ranks: int, nodes: int, rounds: int = ROUNDS, samples: int = SAMPLES
) -> dict[str, Any]:
    """All of it, as floor.json holds it."""
    hops = samples_us(device, PingPong(device, rounds), samples, batch=1)
    flags = [us / (2 * rounds) for us in hops]
    return {
        "ranks": ranks,
        "nodes": nodes,
        "copies": copies(device, moved_bytes(ranks, nodes), samples),
        "flag": {"one_way_us": statistics.median(flags), "rounds": rounds, "samples_us": flags},
        "empty_kernel_us": _batched_us(device, EmptyKernel(device), samples),
        "environment": device.facts(),
    }


def moved_bytes(ranks: int, nodes: int) -> list[int]:
    """What the all-reduces of SIZES move; half the least and twice the most as well."""
    costs = [cost(protocol, ranks, nodes, size) for protocol in SLICES for size in SIZES]
    needed = sorted({one.moved_bytes for one in costs if one})
    return [needed[0] // 2, *needed, 2 * needed[-1]] if needed else []


def _nothing() -> None:
    pass


def _open_device() -> CudaDevice:
    from nvrar_bench.devices.cuda.placement import place
    from nvrar_bench.run.as_rank import join_world

    world = join_world()
    return CudaDevice(world, TIMEOUT_S, place(world))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        device = _open_device()
        found = measure(device, arguments.ranks, arguments.nodes)
        device.close()
    except NvrarBenchError as error:
        print(f"gpu_floor: error: {error}", file=sys.stderr)
        return error.exit_code
    arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    print(f"one-way flag latency: {found['flag']['one_way_us']:.3f} us")
    print(f"an empty kernel: {found['empty_kernel_us']:.2f} us")
    for copy in found["copies"]:
        print(
            f"{copy['moved_bytes']:12} bytes moved: {copy['median_us']:8.2f} us "
            f"{copy['gb_per_s'] or 0:8.1f} GB/s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
