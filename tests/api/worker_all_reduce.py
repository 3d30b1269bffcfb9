"""nvrar_bench.open as its users call it.

worker_all_reduce.py works|refused|unbounded|missing|tuned|many
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import nvrar_bench
from nvrar_bench.api import all_reduce
from nvrar_bench.datatypes import DTYPES
from nvrar_bench.documents.tuning import (
    FORMAT,
    FORMAT_VERSION,
    Choice,
    MadeOn,
    TunedMedian,
    TuningDocument,
    encode,
)
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.toolchain.kernel import kernels_dir, sources_digest
from nvrar_bench.verify import KnownReduction, check

sys.path.insert(0, str(Path(__file__).parent))
from speaker import Speaker

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size


def main() -> None:
    everyone = COMM.allgather(globals()[sys.argv[1]]())
    if RANK == 0:
        json.dump(everyone, sys.stdout)


# ---- what works --------------------------------------------------------------------------------


def works() -> dict[str, list[str]]:
    """What went wrong, by what was done."""
    all_reduce.MOST_PREPARED = 64
    with nvrar_bench.open("nvrar", COMM, device="cpu", nodes=2) as backend:
        found = {act.__name__: act(backend) for act in WITH_BACKEND}
    return found | {act.__name__: act() for act in ALONE}


def the_example_of_the_readme(backend: Any) -> list[str]:
    send, recv = backend.empty(1000, "float32"), backend.empty(1000, "float32")
    return reduce(backend, send, recv) + reduce(backend, send, send)


def types_and_ops(backend: Any) -> list[str]:
    wrong = []
    for dtype, op in (("int8", "max"), ("bfloat16", "sum"), ("uint64", "avg"), ("float64", "prod")):
        send, recv = backend.empty(77, dtype), np.zeros(77, DTYPES[dtype].numpy)
        wrong += reduce(backend, send, recv, dtype, op)
    return wrong


def arrays_of_any_shape_that_speak_dlpack(backend: Any) -> list[str]:
    wrong = []
    for dtype, op in (("bfloat16", "sum"), ("float32", "sum")):
        matrix = backend.empty((7, 11), dtype)
        wrong += reduce(backend, matrix, Speaker(np.zeros((7, 11), DTYPES[dtype].numpy)), dtype, op)
        wrong += reduce(backend, Speaker(matrix), backend.empty((7, 11), dtype), dtype, op)
    return wrong


def private_arrays_that_come_and_go(backend: Any) -> list[str]:
    """More of them than are kept prepared; rank 0 has its own all the time."""
    kept = np.zeros(33, np.float32), np.zeros(33, np.float32)
    wrong = []
    for seed in range(150):
        send, recv = kept if RANK == 0 else (np.zeros(33, np.float32), np.zeros(33, np.float32))
        wrong += reduce(backend, send, recv, seed=seed)
    return wrong


def slices_of_symmetric_arrays(backend: Any) -> list[str]:
    whole, other = backend.empty(300, "float32"), backend.empty(300, "float32")
    other[:] = 7
    wrong = reduce(backend, whole[5:105], other[11:111])
    wrong += reduce(backend, whole[1:100], whole[100:199])
    around = np.concatenate([other[:11], other[111:]])
    return wrong + (["written around the slice"] if (around != 7).any() else [])


def one_symmetric_and_one_private_array(backend: Any) -> list[str]:
    symmetric, private = backend.empty(300, "float32"), np.zeros(300, np.float32)
    return reduce(backend, symmetric, private) + reduce(backend, private, symmetric)


def no_elements_are_no_call(backend: Any) -> list[str]:
    """So ranks may even differ in how often they make none."""
    nothing = np.zeros(0, np.float32)
    for _ in range(RANK):
        backend.all_reduce(nothing, nothing)
    return reduce(backend, np.zeros(9, np.float32), np.zeros(9, np.float32))


def arrays_are_free_when_a_call_returns(backend: Any) -> list[str]:
    send, recv = backend.empty(5000, "float32"), backend.empty(5000, "float32")
    wrong = []
    for seed in range(40):
        wrong += reduce(backend, send, recv, seed=seed)
        send.fill(np.nan)
        recv.fill(np.nan)
    return wrong


def two_at_once() -> list[str]:
    wrong = []
    with (
        nvrar_bench.open("nvrar", COMM, protocol="packet") as first,
        nvrar_bench.open("nvrar", COMM, nodes=SIZE) as second,
    ):
        for seed in range(20):
            for backend in (first, second):
                send = np.zeros(50, np.float32)
                wrong += reduce(backend, send, send.copy(), seed=seed)
    return wrong


def closed_and_opened_again() -> list[str]:
    wrong, kept = [], []
    for seed in range(3):
        with nvrar_bench.open("nvrar", COMM) as backend:
            kept.append(backend.empty(50, "float32"))
            wrong += reduce(backend, kept[-1], kept[0], seed=seed)  # from an open that has ended
    return wrong


def parts_of_the_world() -> list[str]:
    part = COMM.Split(RANK % 2, RANK)
    with nvrar_bench.open("nvrar", part) as backend:
        send, recv = backend.empty(50, "float32"), backend.empty(50, "float32")
        return reduce(backend, send, recv, comm=part)


def other_backends() -> list[str]:
    wrong = []
    for name in ("mpi", "fake"):
        with nvrar_bench.open(name, COMM) as backend:
            send, recv = backend.empty(50, "int32"), backend.empty(50, "int32")
            wrong += reduce(backend, send, recv, "int32", "max")
            wrong += reduce(backend, send, send, "int32", "sum")
    return wrong


WITH_BACKEND: tuple[Callable[[Any], list[str]], ...] = (
    the_example_of_the_readme,
    types_and_ops,
    arrays_of_any_shape_that_speak_dlpack,
    private_arrays_that_come_and_go,
    slices_of_symmetric_arrays,
    one_symmetric_and_one_private_array,
    no_elements_are_no_call,
    arrays_are_free_when_a_call_returns,
)
ALONE: tuple[Callable[[], list[str]], ...] = (
    two_at_once,
    closed_and_opened_again,
    parts_of_the_world,
    other_backends,
)


def reduce(
    backend: Any, send: Any, recv: Any, dtype: str = "float32", op: str = "sum", seed: int = 0,
    comm: MPI.Comm = COMM,
) -> list[str]:  # fmt: skip
    """One call on known inputs; what is wrong with it."""
    problem = KnownReduction(dtype, op, comm.size, "exact", seed)
    seen, result_in = (getattr(one, "array", one) for one in (send, recv))
    inputs = problem.inputs(comm.rank, seen.size)
    seen.reshape(-1)[:] = inputs
    backend.all_reduce(send, recv, op=op)
    if recv is not send and seen.tobytes() != inputs.tobytes():
        return ["the input was written"]
    flat = result_in.reshape(-1)
    result = check(flat, problem.expected(flat.size), flat.size, comm.rank)
    return [str(result.first_wrong)] if result.wrong else []


# ---- calls that change -------------------------------------------------------------------------


def many() -> list[str]:
    """Calls whose sizes, types, ops, arrays and their makers change; the first that is wrong."""
    with nvrar_bench.open("nvrar", COMM) as backend:
        return changing_calls(backend, int(sys.argv[2]))


def changing_calls(backend: Any, calls: int) -> list[str]:
    draw = random.Random(7)
    kinds = [("float32", "sum"), ("int8", "max"), ("bfloat16", "sum"), ("uint64", "avg")]
    pools = {dtype: [backend.empty(2000, dtype) for _ in range(3)] for dtype, _ in kinds}
    for call in range(calls):
        dtype, op = draw.choice(kinds)
        count, first = draw.choice((1, 2, 31, 500, 1024)), draw.choice((0, 8, 64))
        send, recv = (
            pool[first : first + count]
            if draw.random() < 0.6
            else np.empty(count, DTYPES[dtype].numpy)
            for pool in draw.sample(pools[dtype], 2)
        )
        recv = send if draw.random() < 0.3 else recv
        inputs = [(call + rank + np.arange(count)) % 7 for rank in range(SIZE)]
        send[:] = inputs[RANK]
        if draw.random() < 0.2:
            backend.all_reduce(Speaker(send), Speaker(recv), op=op)
        else:
            backend.all_reduce(send, recv, op=op)
        if (recv != EXPECTED[op](inputs).astype(recv.dtype)).any():
            return [f"call {call}: {op} of {count} x {dtype}"]
    return []


EXPECTED: dict[str, Callable[[Any], Any]] = {
    "sum": sum,
    "max": lambda inputs: np.max(inputs, axis=0),
    "avg": lambda inputs: sum(inputs) // SIZE,
}


# ---- what does not -----------------------------------------------------------------------------


def refused() -> list[str]:
    seen = [opening(nodes=3), opening("nccl"), opening("mpi", device="cuda")]
    with nvrar_bench.open("mpi", COMM) as backend:
        a = np.zeros(4, np.float16)
        seen.append(error_of(lambda: backend.all_reduce(a, a)))
        b = np.zeros(4, np.float32)
        seen.append(error_of(lambda: backend.all_reduce(b, b, op="avg")))
        c = np.zeros(3 + RANK, np.float32)
        seen.append(error_of(lambda: backend.all_reduce(c)))
        d = backend.empty(3, "float32")
        seen.append(error_of(lambda: backend.all_reduce(c if RANK == 0 else d)))
    return seen


def unbounded() -> list[str]:
    wishes = ({"nodes": 0}, {"nodes": -1}, {"timeout": -1.0}, {"timeout": float("nan")})
    return [opening(**wish) for wish in wishes]


def opening(name: str = "nvrar", **wishes: Any) -> str:
    return error_of(lambda: nvrar_bench.open(name, COMM, **wishes).close())


def error_of(action: Callable[[], None]) -> str:
    try:
        action()
    except NvrarBenchError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"a bare {type(error).__name__}"
    return "no error"


def missing() -> str | None:
    """Rank 0 leaves out a call; the backend closes all the same."""
    with nvrar_bench.open("nvrar", COMM, timeout=4.0) as backend:
        array = np.ones(100, np.float32)
        backend.all_reduce(array, array.copy())
        return None if RANK == 0 else error_of(lambda: backend.all_reduce(array, array.copy()))


# ---- a tuning table ----------------------------------------------------------------------------


def tuned() -> dict[str, Any]:
    """How calls are launched with a table of the file that the arguments name, and what is said."""
    path = sys.argv[2]
    with nvrar_bench.open("nvrar", COMM, nodes=2) as backend:
        if RANK == 0:
            Path(path).write_text(encode(a_table(backend._backend.made_for)))
    COMM.Barrier()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with nvrar_bench.open("nvrar", COMM, nodes=2, tuning=path) as backend:
            send, recv = backend.empty(1000, "float32"), backend.empty(1000, "float32")
            wrong = reduce(backend, send, recv)
            (operation,) = backend._prepared.values()
    try:
        nvrar_bench.open("nvrar", COMM, nodes=1, tuning=path)
        refusal = ""
    except NvrarBenchError as error:
        refusal = str(error)
    said = [str(one.message) for one in heard]
    return {"wrong": wrong, "shape": str(operation.shape), "said": said, "refusal": refusal}


def a_table(made_for: Any) -> TuningDocument:
    choice = Choice(
        "float32", "sum", "symmetric", 4096, "packet", 1, 1, 2048, 2, "doubling", is_auto=False,
        measured=TunedMedian(1.0, None, None), auto=None, tried=1, level=1, refused=0,
        ended_by="winner",
    )  # fmt: skip
    kernels = sources_digest(kernels_dir())
    return TuningDocument(
        FORMAT,
        FORMAT_VERSION,
        "0",
        "",
        "complete",
        made_for,
        MadeOn("an abacus", (), kernels, {}, None),
        (choice,),
    )


if __name__ == "__main__":
    main()
