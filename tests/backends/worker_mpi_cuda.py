"""MPI on GPU buffers whose GPU is this process's own memory and whose copies happen late."""

from __future__ import annotations

import ctypes
import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from nvrar_bench.backends.mpi import Extension, MpiCudaBackend, Support
from nvrar_bench.run.as_rank import join_world
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.verify import KnownReduction, check

COUNT = 103


class Gpu:
    """The device and its context, for MpiCudaBackend: copies are queued until the stream runs."""

    stream_handle = 7

    def __init__(self) -> None:
        self.context = self.calls = self
        self.queued: list[tuple[int, int, int]] = []
        self.pinned: dict[int, Any] = {}
        self.copies = 0

    def cuMemAllocHost(self, nbytes: int) -> int:  # noqa: N802
        buffer = ctypes.create_string_buffer(nbytes)
        self.pinned[ctypes.addressof(buffer)] = buffer
        return ctypes.addressof(buffer)

    def cuMemFreeHost(self, address: int) -> None:  # noqa: N802
        del self.pinned[address]

    def cuMemcpyDtoHAsync(self, host: int, gpu: int, nbytes: int, stream: int) -> None:  # noqa: N802
        self._copy(host, host, gpu, nbytes, stream)

    def cuMemcpyHtoDAsync(self, gpu: int, host: int, nbytes: int, stream: int) -> None:  # noqa: N802
        self._copy(host, gpu, host, nbytes, stream)

    def _copy(self, host: int, target: int, source: int, nbytes: int, stream: int) -> None:
        assert host in self.pinned
        assert stream == self.stream_handle
        self.queued.append((target, source, nbytes))

    def drain(self, what: str) -> None:
        for arguments in self.queued:
            ctypes.memmove(*arguments)
        self.copies += len(self.queued)
        self.queued.clear()


def device_array(values: np.ndarray) -> Any:
    """As devices.cuda.memory.DeviceArray."""
    return SimpleNamespace(address=values.ctypes.data, nbytes=values.nbytes)


def run(world: Any, support: Support) -> dict[str, Any]:
    gpu = Gpu()
    backend = MpiCudaBackend(world, gpu, 10.0, support)
    plan = build_plan(
        dtypes=("all",), ops=("all",), counts=(COUNT,), placements=("out_of_place", "in_place")
    )
    problems, variants, calls = [], set(), 0
    for case in (case for case in plan if backend.unsupported(case) is None):
        problem = KnownReduction(case.dtype, case.op, world.size, "exact", 5)
        inputs = problem.inputs(world.rank, COUNT)
        send = np.empty_like(inputs)
        recv = send if case.placement == "in_place" else np.zeros_like(send)
        operation = backend.prepare(case, device_array(send), device_array(recv))
        for _ in range(2):
            # The inputs come in stream order too: a call that does not wait reads rubbish.
            gpu.queued.append((send.ctypes.data, inputs.ctypes.data, inputs.nbytes))
            operation.launch()
            result = check(recv, problem.expected(COUNT), COUNT, world.rank)
            calls += 1
            if result.wrong or gpu.queued:
                problems.append(f"{case}: {result.first_wrong}, {len(gpu.queued)} queued")
        if case.placement == "out_of_place" and send.tobytes() != inputs.tobytes():
            problems.append(f"{case}: the input changed")
        operation.close()
        variants.add((operation.variant, operation.stream_ordered))
    return {
        "problems": problems, "variants": sorted(variants), "calls": calls,
        "copies": gpu.copies, "pinned": len(gpu.pinned),
    }  # fmt: skip


def main() -> None:
    world = join_world()
    found = {
        "staged": run(world, Support(False, "asked for")),
        "cuda_aware": run(world, Support(True, "asked for")),
        "answer": MpiCudaBackend(world, Gpu(), 10.0).facts(),
        "queries": [Extension().query_cuda(), Extension().query_gpu()],
    }
    everyone = world.comm.gather(found)
    if everyone:
        json.dump(everyone, sys.stdout)


if __name__ == "__main__":
    main()
