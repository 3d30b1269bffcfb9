"""All-reduce from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nvrar_bench
from nvrar_bench.api.all_reduce import MOST_PREPARED, AllReduce
from nvrar_bench.errors import UsageError

WORKER = Path(__file__).parent / "worker_all_reduce.py"


# ---- on several ranks --------------------------------------------------------------------------


def test_what_users_do(run_ranks):
    done = run_ranks(4, WORKER, "works")
    assert done.code == 0, done.stderr[-4000:]
    everyone = done.record()
    assert len(everyone) == 4
    assert len(everyone[0]) == 12
    for found in everyone:
        assert {what: wrong for what, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("calls", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_calls_that_change_all_the_time(run_ranks, calls):
    done = run_ranks(2, WORKER, "many", calls)
    assert (done.code, done.record()) == (0, [[], []]), done.stderr[-4000:]


def test_what_is_not_there_is_refused_on_every_rank(run_ranks):
    done = run_ranks(2, WORKER, "refused")
    assert done.code == 0, done.stderr[-4000:]
    first, second = done.record()
    assert first == second
    starts = (
        "UsageError: --nodes 3: 2 ranks cannot be split into 3 equal nodes; allowed here: 1, 2",
        "Unavailable: --backend nccl is not available: ",
        "Unavailable: --device cuda is not available: ",
        "UsageError: mpi: MPI has no datatype for float16",
        "UsageError: mpi: MPI has no avg operation",
        "UsageError: rank 0 calls all_reduce for sum of 3 x float32 in private memory, rank 1 for "
        "sum of 4 x float32 in private memory; allowed: the same calls in the same order",
        "UsageError: rank 0 calls all_reduce for sum of 3 x float32 in private memory, rank 1 for "
        "sum of 3 x float32 in symmetric memory; allowed: ",
    )
    for seen, start in zip(first, starts, strict=True):
        assert seen.startswith(start)


def test_a_tuning_table_is_followed(run_ranks, tmp_path):
    path = tmp_path / "t.json"
    done = run_ranks(2, WORKER, "tuned", path)
    assert done.code == 0, done.stderr[-4000:]
    for found in done.record():
        assert found["wrong"] == []
        assert found["shape"] == "packet, 1 x 1 threads, chunks of 2K, radix 2"
        (said,) = found["said"]
        assert said.startswith("tuning: the table was made on an abacus, this is ")
        assert found["refusal"].startswith(
            f"tuning {path} was made for something else: nodes 2 there, 1 here"
        )


def test_nodes_and_timeouts_that_make_no_sense(run_ranks):
    done = run_ranks(2, WORKER, "unbounded")
    assert done.code == 0, done.stderr[-4000:]
    for seen in done.record()[0]:
        assert seen.startswith("UsageError: ")


def test_a_rank_that_does_not_call_is_named(run_ranks):
    done = run_ranks(3, WORKER, "missing")
    assert done.code == 0, done.stderr[-4000:]
    missing, *others = done.record()
    assert missing is None
    for rank, seen in enumerate(others, 1):
        assert seen.startswith(f"TimedOut: NVRAR gave up after 4 s on rank {rank} (")
        assert "waiting for rank 0, " in seen


# ---- on one rank, without MPI ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "count", "nbytes"), [("float32", 1000, 4000), ("int8", 1, 1), ("float64", 0, 0)]
)
def test_empty_gives_symmetric_memory(backend, dtype, count, nbytes):
    array = backend.empty(count, dtype)
    assert (array.shape, array.dtype, array.nbytes) == ((count,), np.dtype(dtype), nbytes)
    assert backend._memory.peers(array) == (array.ctypes.data,)


@pytest.mark.parametrize(
    ("count", "dtype", "message"),
    [
        (-1, "float32", "shape -1: allowed: a number of elements, or of every dimension"),
        ((3, -1), "float32", "shape (3, -1): allowed: a number of elements, or of every dim"),
        (2.0, "float32", "shape 2.0: allowed: a number of elements, or of every dimension"),
        (1, "float31", "unknown dtype 'float31'; allowed: float64, float32, "),
    ],
)
def test_empty_refuses(backend, count, dtype, message):
    with pytest.raises(UsageError) as caught:
        backend.empty(count, dtype)
    assert str(caught.value).startswith(message)


F4 = np.dtype(np.float32)
READ_ONLY = np.zeros(4, F4)
READ_ONLY.flags.writeable = False
WHOLE, SQUARE = np.zeros(12, F4), np.zeros((2, 3), F4)
ODD = np.zeros(9, np.uint8)[1:].view(F4)

BAD = {
    "no array": ([1.0], np.zeros(1, F4), "send is a list; allowed: what speaks DLPack or the CUD"),
    "with gaps": (np.zeros(4, F4), WHOLE[::3], "recv is float32 of shape (4,); allowed: contigu"),
    "in Fortran's order": (SQUARE.T, SQUARE, "send is float32 of shape (3, 2); allowed: contigu"),
    "two shapes": (SQUARE, SQUARE.reshape(6), "send is float32 (2, 3), recv is float32 (6,); al"),
    "not aligned": (ODD, np.zeros(2, F4), "send starts at 0x"),
    "no dtype of ours": (np.zeros(4, "c8"), np.zeros(4, "c8"), "send is complex64 of shape (4,)"),
    "other byte order": (np.zeros(4, ">f4"), np.zeros(4, ">f4"), "send is >f4 of shape (4,); all"),
    "two dtypes": (np.zeros(4, F4), np.zeros(4, "i4"), "send is float32 (4,), recv is int32 (4,)"),
    "two lengths": (np.zeros(4, F4), np.zeros(5, F4), "send is float32 (4,), recv is float32 (5,"),
    "overlapping": (WHOLE[0:8], WHOLE[4:12], "send and recv overlap; they must be the same array "),
}


@pytest.mark.parametrize(("send", "recv", "message"), BAD.values(), ids=BAD)
def test_arrays_that_do_not_fit(backend, send, recv, message):
    with pytest.raises(UsageError) as caught:
        backend.all_reduce(send, recv)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("send", [np.ones(4, F4), READ_ONLY], ids=["apart", "in place"])
def test_an_output_that_may_not_be_written(backend, send):
    with pytest.raises(UsageError):
        backend.all_reduce(send, READ_ONLY)


def test_an_unknown_op(backend):
    array = np.zeros(4, F4)
    with pytest.raises(UsageError, match=r"^unknown op 'xor'; allowed: sum, prod, min, max, avg$"):
        backend.all_reduce(array, array, op="xor")


def test_no_elements_take_no_epoch(backend):
    nothing, something = np.zeros(0, F4), np.zeros(3, F4)
    backend.all_reduce(nothing, nothing)
    backend.all_reduce(something, something)
    backend.all_reduce(nothing, nothing)
    assert backend._backend.take_epochs(1) == 2


def test_aliases_of_a_dtype_are_that_dtype(backend):
    send, recv = np.arange(4, dtype=np.longlong), np.zeros(4, np.longlong)
    backend.all_reduce(send, recv)
    assert recv.tolist() == [0, 1, 2, 3]


def test_prepared_calls_are_used_again_and_do_not_pile_up(backend):
    arrays = [np.full(4, number, F4) for number in range(MOST_PREPARED + 9)]
    for array in arrays:
        backend.all_reduce(array)
    assert len(backend._prepared) == MOST_PREPARED
    assert len(backend._private) == MOST_PREPARED
    last = list(backend._prepared.values())[-1]
    backend.all_reduce(arrays[-1], arrays[-1])
    assert list(backend._prepared.values())[-1] is last
    assert len(backend._prepared) == MOST_PREPARED


def test_a_stream_means_nothing_on_a_cpu(backend):
    with pytest.raises(UsageError, match=r"^stream 0: allowed on the cpu device: None$"):
        backend.all_reduce(np.zeros(3, F4), stream=0)
    backend.synchronize()


def test_closing_gives_all_memory_back(open_alone):
    backend = open_alone()

    def fail() -> None:
        with backend:
            array = backend.empty(100, "float32")
            backend.all_reduce(array, array)
            assert len(backend._memory._blocks) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert backend._memory._blocks == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "rccl"}, UsageError, "--backend rccl: no such backend; allowed: nccl, mpi, "),
        ({"device": "tpu"}, UsageError, "--device tpu: no such device; allowed: auto, cpu, cuda"),
        ({"heap_bytes": -1}, UsageError, "heap_bytes -1: allowed: 0 and more"),
        ({"protocol": "ll"}, UsageError, "protocol ll: allowed: auto, signal, packet"),
        ({"name": "mpi", "tuning": "t.json"}, UsageError, "tuning t.json: mpi has no launches to"),
    ],
)
def test_open_refuses_before_ranks_meet(arguments, error, message):
    with pytest.raises(error) as caught:
        nvrar_bench.open(**{"name": "nvrar", "comm": None, **arguments})
    assert str(caught.value).startswith(message)


def test_the_package_offers_open_and_nothing_that_is_not_there():
    assert nvrar_bench.AllReduce is AllReduce
    assert {"open", "AllReduce", "__version__"} == set(nvrar_bench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'reduce_all'"):
        nvrar_bench.reduce_all  # noqa: B018
