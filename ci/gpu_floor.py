"""What one GPU needs at least: to copy, to pass a flag between two blocks, to run a kernel.

    python ci/gpu_floor.py --shapes 8x2,4x1,2x1 --json floor.json

All are measured as calls of the product are: on its device, in its stream, by its timer; once
queued, as `sweep` does it, and once in graphs of 10, as `sweep --graph 10` does. The copies move
the bytes that the all-reduces of ci/gpu_model.py move: a copy of n bytes reads n and writes n, so
it moves 2 n. The flag is kernels/fabric/flag_latency.cuh. Medians, warm caches.
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
from nvrar_bench.devices.cuda.timing import GpuTimer
from nvrar_bench.errors import NvrarBenchError, TimedOut
from nvrar_bench.timing.loop import Timings
from nvrar_bench.toolchain.kernel import CUDA_GATE

SIZES = (128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20)
SHAPES = "8x2,4x1,2x1"  # ranks x nodes
GRAPH = 10  # calls of a graph
ROUNDS = 1000  # of ping-pong in a sample: what the launch takes is lost among 2000 hops
SAMPLES = 200  # about so many calls of each
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
        self._kernel = device.context.load(device.build(CUDA_GATE), "nvrar_nothing")

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


@dataclass(frozen=True)
class Stopwatch:
    """Times operations on `device` by `timer`, `calls` of them in a sample."""

    device: CudaDevice
    timer: GpuTimer
    calls: int

    def samples_us(self, operation: Operation, count: int, calls: int) -> list[float]:
        """`count` samples of `calls` calls, or of a graph, per call; the first is not timed."""
        taken = Timings.empty(count)
        operation.launch()
        self.device.finish(operation)
        gate = self.device.start_gate()
        self.timer.time_calls(operation, _nothing, gate, taken, calls)
        return [nanoseconds / 1e3 for nanoseconds in taken.durations.tolist()]

    def median_us(self, operation: Operation, samples: int) -> float:
        """Of about `samples` calls."""
        return statistics.median(self.samples_us(operation, self._few(samples), self.calls))

    def _few(self, samples: int) -> int:
        return max(3, samples // self.calls)

    def measure(self, moved: Sequence[int], rounds: int, samples: int) -> dict[str, Any]:
        """One part of floor.json: copies that move so many bytes, the flag, an empty kernel."""
        games = self.samples_us(PingPong(self.device, rounds), self._few(samples), 1)
        flags = [us / (2 * rounds) for us in games]
        return {
            "calls": self.calls,
            "event_us": self.device.timer.facts["event_cost_us"] / self.calls,
            "empty_kernel_us": self.median_us(EmptyKernel(self.device), samples),
            "flag": {"one_way_us": statistics.median(flags), "rounds": rounds, "samples_us": flags},
            "copies": [self._copied(nbytes, samples) for nbytes in moved],
        }

    def _copied(self, moved: int, samples: int) -> dict[str, Any]:
        operation = Copy(self.device, moved // 2)
        try:
            median = self.median_us(operation, samples)
        finally:
            operation.close()
        rate = moved / median / 1e3 if median else None  # shorter than an event resolves
        return {"moved_bytes": moved, "median_us": median, "gb_per_s": rate}


def measure(
    device: CudaDevice, shapes: str, rounds: int = ROUNDS, samples: int = SAMPLES
) -> dict[str, Any]:
    """All of it, as floor.json holds it."""
    moved = moved_bytes(shapes)
    in_graphs = GpuTimer(device.memory, device.build(CUDA_GATE), graph=GRAPH)
    try:
        return {
            "shapes": shapes,
            "queued": Stopwatch(device, device.timer, device.timer.batch_for(1)).measure(
                moved, rounds, samples
            ),
            "graph": Stopwatch(device, in_graphs, GRAPH).measure(moved, rounds, samples),
            "environment": device.facts(),
        }
    finally:
        in_graphs.close()


def moved_bytes(shapes: str) -> list[int]:
    """What the all-reduces of SIZES move."""
    costs = [
        cost(protocol, *map(int, shape.split("x")), size)
        for shape in shapes.split(",") for protocol in SLICES for size in SIZES
    ]  # fmt: skip
    return sorted({one.moved_bytes for one in costs if one})


def _nothing() -> None:
    pass


def _open_device() -> CudaDevice:
    from nvrar_bench.devices.cuda.device import place
    from nvrar_bench.run.as_rank import join_world

    world = join_world()
    return CudaDevice(world, TIMEOUT_S, place(world))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shapes", default=SHAPES, help="ranks x nodes of the all-reduces")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="about so many calls of each")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        device = _open_device()
        found = measure(device, arguments.shapes, samples=arguments.samples)
        device.close()
    except NvrarBenchError as error:
        print(f"gpu_floor: error: {error}", file=sys.stderr)
        return error.exit_code
    arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    for kind in ("queued", "graph"):
        _show(kind, found[kind])
    return 0


def _show(kind: str, part: dict[str, Any]) -> None:
    print(f"{kind}, {part['calls']} calls a sample, {part['event_us']:.3f} us of each are events")
    print(f"  one-way flag latency: {part['flag']['one_way_us']:.3f} us")
    print(f"  an empty kernel: {part['empty_kernel_us']:.2f} us")
    for copy in part["copies"]:
        print(
            f"{copy['moved_bytes']:12} bytes moved: {copy['median_us']:8.2f} us "
            f"{copy['gb_per_s'] or 0:8.1f} GB/s"
        )


if __name__ == "__main__":
    sys.exit(main())
