"""A CUDA device on the real bindings and the stub driver: prints what went wrong, as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import mpi4py

mpi4py.rc.initialize = False

import numpy as np  # noqa: E402

from nvrar_bench.api.gpu import GpuCaller  # noqa: E402
from nvrar_bench.backends.base import Operation  # noqa: E402
from nvrar_bench.datatypes import DTYPES  # noqa: E402
from nvrar_bench.devices.cuda import driver  # noqa: E402
from nvrar_bench.devices.cuda.device import CudaDevice, place  # noqa: E402
from nvrar_bench.devices.work import Spin, Stream  # noqa: E402
from nvrar_bench.errors import NvrarBenchError  # noqa: E402
from nvrar_bench.timing.loop import Timings  # noqa: E402
from nvrar_bench.toolchain import host  # noqa: E402
from nvrar_bench.toolchain.kernel import CUDA_GATE  # noqa: E402
from nvrar_bench.toolchain.structs import CWorkMemory  # noqa: E402
from nvrar_bench.verify import Expected, Findings, KnownReduction, check  # noqa: E402
from nvrar_bench.world import World  # noqa: E402

COUNT = 700
BYTE = np.dtype(np.uint8)


class Alone:
    rank, size = 0, 1

    def allgather(self, one):
        return [one]


class Nothing(Operation):
    """Two empty kernels."""

    variant, stream_ordered = "nothing", True

    def __init__(self, device):
        self.device = device
        self.kernel = device.context.load(device.build(CUDA_GATE), "nvrar_nothing")

    def launch(self):
        for _ in range(2):
            self.device.context.launch(self.kernel, 1, 32)


def checks(device, name, mode):
    """Poison, canaries, a copy and the check, as a case does them."""
    dtype = DTYPES[name].numpy
    expected = KnownReduction(name, "sum", 3, mode, 4).expected(COUNT)
    tolerance = None if expected.tolerance is None else device.memory.keep(expected.tolerance)
    block = device.memory.allocate(128 + COUNT * dtype.itemsize, "private")
    output = block.view(64, COUNT * dtype.itemsize, dtype)
    canary = block.view(0, 64, BYTE)
    around = canary, block.view(64 + output.nbytes, 64, BYTE)
    device.verifier.spoil(output, around)
    rows = np.stack([expected.value.astype(dtype)] * len(device.world.seats))
    rows[-1][3] = 0 if rows[-1][3] else 1
    kept = Expected(device.memory.keep(expected.value), tolerance, expected.mode)
    poisoned = device.verifier.check(output, kept, around)
    device.memory.copy(output, device.memory.keep(rows if len(rows) > 1 else rows[0]))
    right = [check(row, expected, COUNT, rank) for rank, row in enumerate(rows)]
    found = device.verifier.check(output, kept, around)
    device.memory.release(block)
    is_spoilt = all(result.wrong > COUNT // 2 for result in poisoned.results)
    return found == Findings(right, intact=True) and poisoned.intact and is_spoilt


def refusals(device, operation):
    """What is said when too much is asked for."""
    actions = (
        lambda: device.context.require_resident(operation.kernel, 265, 1024),
        lambda: device.memory.allocate(1 << 37, "private"),
        lambda: device.context.load(b"/nowhere\0", "nothing"),
    )
    return [refusal(action) for action in actions]


def step(device, operation):
    """How far three launches of a step have read, and what the last one's kernels took, in ns."""
    works = device.work(Stream(5000)), device.work(Spin(1000))
    sequence = device.sequence([operation, *works, operation])
    for _ in range(3):
        sequence.launch()
        device.finish(sequence)
    timings = Timings.empty(1)
    calls = sequence.launch, 1
    device.timer._time_held(sequence, calls, lambda: None, device.start_gate(), timings)
    memory = CWorkMemory.from_buffer_copy(
        device.memory.to_host(device.works._work_memory).tobytes()
    )
    sequence.close()
    return memory.next, timings.durations.tolist()


def calls_of_a_user(device, operation):
    """What is said when he captures what cannot be, and gives memory of another GPU."""
    calls, stream = GpuCaller(device), device.context.stream_handle
    calls.launch(operation, stream)
    calls.synchronize(operation, stream)
    operation.stream_ordered, cu = False, device.context.calls
    cu.cuStreamBeginCapture(stream, cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED)
    refused = [refusal(lambda: calls.launch(operation, stream))]
    cu.cuGraphDestroy(cu.cuStreamEndCapture(stream))
    operation.stream_ordered = True
    far = SimpleNamespace(__cuda_array_interface__=np.zeros(4).__array_interface__)
    return [*refused, refusal(lambda: calls.operand("send", far))]


def refusal(action):
    try:
        action()
    except NvrarBenchError as error:
        return str(error)


def main(ranks: int, graph: int) -> None:
    world = World(Alone(), Alone(), ("here",), (0,), 1, False, 1)
    placement = place(world)
    world = replace(world, hosts=world.hosts * ranks)
    device = CudaDevice(
        world, 5.0, placement, graph=graph, cold_cache=True,
        build=lambda kernel, arch: str(host.build(kernel)).encode() + b"\0",
    )  # fmt: skip
    wrong = [f"{n} {m}" for n in DTYPES for m in ("exact", "rounding") if not checks(device, n, m)]
    operation = Nothing(device)
    timings = Timings.empty(3)
    device.timer.time_calls(operation, lambda: None, device.start_gate(), timings)
    report = {
        "missing": driver.missing(),
        "wrong": wrong,
        "samples": timings.durations.tolist(),
        "step": step(device, operation),
        "facts": device.facts(),
        "refusals": refusals(device, operation),
        "user": calls_of_a_user(device, operation),
    }
    device.close()
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    # Whatever wheels are beside the bindings: the stub drives them all.
    driver.installed = lambda: {"cuda-bindings": driver.files.installed("cuda-bindings")}
    main(int(sys.argv[1]), int(sys.argv[2]))
