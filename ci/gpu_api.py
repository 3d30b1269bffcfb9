"""The Python interface on GPUs: addresses, results, streams, graphs, several opens, lifetimes.

mpirun -n 2 python ci/gpu_api.py

The ranks may share a GPU. Prints what is wrong; the exit code is then 1.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from mpi4py import MPI

import nvrar_bench
from nvrar_bench.api import operand
from nvrar_bench.devices.cuda.calls import load_calls
from nvrar_bench.errors import UsageError

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size
COUNTS = (1, 1000, 300_000)  # packets and signals
cu = load_calls()
wrong: list[str] = []


def check(what: str, is_right: bool) -> None:
    if not is_right:
        wrong.append(f"rank {RANK}: {what}")


def opened(**options: Any) -> Any:
    return nvrar_bench.open("nvrar", COMM, "cuda", share_gpu=True, timeout=20, **options)


def write(array: Any, values: Any, stream: int) -> None:
    host = np.ascontiguousarray(values)
    cu.cuMemcpyHtoDAsync(operand.describe(array).address, host.ctypes.data, host.nbytes, stream)
    cu.cuCtxSynchronize()


def read(array: Any, stream: int) -> Any:
    host = np.empty(array.shape, array.dtype)
    cu.cuMemcpyDtoHAsync(host.ctypes.data, operand.describe(array).address, host.nbytes, stream)
    cu.cuCtxSynchronize()
    return host


def results(backend: Any, stream: int) -> None:
    for count in COUNTS:
        send, recv = (backend.empty(count, "float32") for _ in range(2))
        check(
            "two addresses of one array",
            operand.describe(send).address == send.__cuda_array_interface__["data"][0],
        )
        whole = np.arange(count, dtype=np.float32) % 64
        for bare in (False, True):  # as ours, and as somebody's who has the CUDA array interface
            arrays = [
                SimpleNamespace(__cuda_array_interface__=one.__cuda_array_interface__)
                if bare
                else one
                for one in (send, recv)
            ]
            write(send, whole + RANK, stream)
            backend.all_reduce(*arrays, stream=stream)
            backend.synchronize(stream)
            expected = SIZE * whole + SIZE * (SIZE - 1) / 2
            check(f"sum of {count}", bool((read(recv, stream) == expected).all()))
            backend.all_reduce(arrays[0], stream=stream)
            backend.synchronize(stream)
            check(f"sum of {count} in place", bool((read(send, stream) == expected).all()))


def graphs(backend: Any, stream: int) -> None:
    send, recv = (backend.empty((4, 256), "float32") for _ in range(2))

    def step() -> None:
        backend.all_reduce(send, recv, stream=stream)
        backend.all_reduce(recv, stream=stream)

    def captured() -> Any:
        mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        cu.cuStreamBeginCapture(stream, mode)
        try:
            step()
        finally:
            graph = cu.cuStreamEndCapture(stream)
        return cu.cuGraphInstantiate(graph, 0)

    check("a first call was captured", refused(captured))
    step()
    replay = captured()
    for number in range(1, 4):
        write(send, np.full((4, 256), number * (RANK + 1), np.float32), stream)
        cu.cuGraphLaunch(replay, stream)
        backend.synchronize(stream)
        check(
            f"replay {number}",
            bool((read(recv, stream) == number * SIZE**2 * (SIZE + 1) / 2).all()),
        )
    step()
    backend.synchronize(stream)
    cu.cuGraphExecDestroy(replay)


def refused(action: Callable[[], Any]) -> bool:
    try:
        action()
    except UsageError:
        return True
    return False


def several_opens() -> None:
    with opened() as first, opened(nodes=SIZE) as second:
        stream = int(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_NON_BLOCKING))
        for backend in (first, second, first):
            results(backend, stream)
            graphs(backend, stream)
        kept = first.empty(1000, "float32")
        exported = kept.__dlpack__()
        write(kept, np.full(1000, 5, np.float32), stream)
        address = operand.describe(kept).address
    check("an array of a closed backend was exported", refused(kept.__dlpack__))
    with opened() as again:
        results(again, stream)
        host = np.empty(1000, np.float32)
        cu.cuMemcpyDtoHAsync(host.ctypes.data, address, host.nbytes, stream)
        cu.cuCtxSynchronize()
        check("memory that is still used has changed", bool((host == 5).all()))
    del kept, exported
    gc.collect()
    with opened() as last:
        check("left memory was not freed", not last._memory._heap._library.left)


if __name__ == "__main__":
    several_opens()
    found = [one for each in COMM.allgather(wrong) for one in each]
    if RANK == 0:
        print(*(found or [f"gpu_api: {SIZE} ranks, all right"]), sep="\n")
    sys.exit(bool(found))
