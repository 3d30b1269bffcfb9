"""NCCL by a library that only records: what it is asked to do, and what ends it."""

from __future__ import annotations

import time
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
from nccl_recorder import Recorder, array, block, one, two

from nvrar_bench.backends.nccl import NcclBackend
from nvrar_bench.backends.nccl_library import NcclError, first_problem
from nvrar_bench.devices.cuda.memory import DeviceArray, GpuBlock
from nvrar_bench.errors import TimedOut, Unavailable
from nvrar_bench.settings.plans import build_plan

STREAM = 77


@pytest.fixture
def library():
    made = Recorder()
    yield made
    made.release.set()


def opened(world: Any, library: Recorder, timeout: float = 5.0, arch: str = "sm_90") -> NcclBackend:
    gpu, context = SimpleNamespace(ordinal=3, arch=arch), SimpleNamespace(stream_handle=STREAM)
    device = SimpleNamespace(gpu=gpu, context=context)
    return NcclBackend(world, device, timeout, library)


def test_all_sixty_combinations_run_on_a_recent_gpu_and_nccl(alone, library):
    cases = list(build_plan(dtypes=("all",), ops=("all",), counts=(1,)))
    assert len(cases) == 60
    assert {opened(alone, library).unsupported(case) for case in cases} == {None}


def test_float8_is_refused_where_nccl_or_the_gpu_lacks_it(alone, library):
    case = one(dtype="float8_e5m2")
    backend = opened(alone, library, arch="sm_80")
    assert backend.unsupported(case) == (
        "NCCL reduces float8_e5m2 on sm_90 and newer, not on sm_80"
    )
    assert backend.unsupported(one(dtype="bfloat16")) is None
    assert opened(alone, library, arch="sm_100a").unsupported(case) is None
    library.number = 22304
    assert opened(alone, library).unsupported(case) == (
        "NCCL 2.23.4 has no float8_e5m2; 2.24 and newer have"
    )


def test_the_oldest_gpu_and_nccl_of_all_ranks_decide(alone, library):
    backend = opened(two(alone, (22200, 90)), library)
    assert "2.22.0 has no float8" in backend.unsupported(one(dtype="float8_e4m3"))
    backend = opened(two(alone, (23203, 80)), library)
    assert backend.unsupported(one(dtype="float8_e4m3")).endswith("not on sm_80")


# ---- one call ------------------------------------------------------------------------------------


@pytest.mark.parametrize("recv", [4096, 512])
def test_a_call_is_enqueued_on_the_stream_of_the_device(alone, library, recv):
    backend = opened(alone, library)
    operation = backend.prepare(one(dtype="bfloat16", op="max"), array(512), array(recv))
    operation.launch()
    assert library.calls[-1] == ("all_reduce", 512, recv, 100, 9, 2, "comm1", STREAM)
    operation.confirm()
    assert backend.facts()["nccl"] == "2.32.3"
    assert (operation.variant, operation.stream_ordered, operation.warnings) == ("plain", True, ())
    assert library.names() == ["unique_id", "connect", "all_reduce"]
    assert library.calls[1] == ("connect", 1, 0, b"identity")


def test_what_nccl_finds_out_later_is_raised_and_ends_in_an_abort(alone, library):
    backend = opened(alone, library)
    operation = backend.prepare(one(), array(0), array(512))
    operation.launch()
    library.result = 6
    with pytest.raises(NcclError, match="ncclResult_t 6: its own words"):
        operation.confirm()
    backend.close()
    assert library.names()[-1] == "abort"
    assert "stop" not in library.names()


# ---- bounded start and end -----------------------------------------------------------------------


def test_a_rank_that_never_comes_is_a_timeout(alone, library):
    library.late = "connect"
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"^rank 0 on here: waited 1 s in starting NCCL$"):
        opened(alone, library, timeout=1.0)
    assert time.monotonic() - started < 30


def test_a_failed_start_is_unavailable_with_its_reason(alone, library):
    library.broken = "connect"
    with pytest.raises(Unavailable, match=r"^starting NCCL: rank 0 on here: connect broke; NCCL_"):
        opened(alone, library)
    library.broken = "unique_id"
    with pytest.raises(Unavailable, match=r"^rank 0 on here: unique_id broke"):
        opened(alone, library)


def test_what_failed_elsewhere_fails_here_and_the_communicator_is_aborted(alone, library):
    world = two(alone, (23203, 90), (False, "rank 1 on there: broke"))
    with pytest.raises(Unavailable, match=r"^rank 1 on there: broke"):
        opened(world, library)
    assert library.calls[-1] == ("abort", "comm1")


def test_a_cause_is_told_rather_than_the_wait_for_it():
    assert first_problem([None, None]) is None
    waited, broke = (True, "rank 0: waited"), (False, "rank 1: broke")
    assert str(first_problem([waited, None, broke])) == "rank 1: broke"
    assert isinstance(first_problem([waited, broke]), Unavailable)
    assert isinstance(first_problem([None, waited]), TimedOut)


def test_a_healthy_communicator_is_stopped_not_aborted_and_once(alone, library):
    backend = opened(alone, library)
    backend.close()
    backend.close()
    assert library.calls[-1] == ("stop", "comm1")
    assert library.names().count("stop") == 1


def test_an_end_that_hangs_is_a_timeout_and_an_abort(alone, library):
    backend = opened(alone, library, timeout=1.0)
    library.late = "stop"
    with pytest.raises(TimedOut, match="in stopping NCCL"):
        backend.close()
    assert library.names()[-2:] == ["stop", "abort"]


def test_abort_is_bounded_and_does_not_raise(alone, library):
    backend = opened(alone, library, timeout=1.0)
    library.late = "abort"
    backend.abort()
    library.release.set()
    other = Recorder(broken="abort")
    opened(alone, other).abort()
    assert other.names()[-1] == "abort"


# ---- windows -------------------------------------------------------------------------------------


def test_symmetric_buffers_are_registered_once_per_block(alone, library):
    backend = opened(alone, library)
    first, second = block(4096), block(65536)
    case = one(buffers="symmetric")
    for offset in (64, 128):
        send, recv = array(4096 + offset, first), array(65536 + offset, second)
        operation = backend.prepare(case, send, recv)
        assert (operation.variant, operation.warnings) == ("window", ())
    registered = [call for call in library.calls if call[0] == "register"]
    assert registered == [("register", "comm1", 4096, 8192), ("register", "comm1", 65536, 8192)]
    backend.close()
    assert library.names()[-3:] == ["deregister", "deregister", "stop"]


def test_private_buffers_are_not_registered(alone, library):
    operation = opened(alone, library).prepare(one(), array(0, block(0)), array(512, block(512)))
    assert operation.variant == "plain"
    assert "register" not in library.names()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": 22605}, "NCCL 2.26.5 has none; 2.27 and newer have"),
        ({"window": None}, "NCCL has none between these GPUs"),
        ({"broken": "register"}, "registering a window with NCCL: rank 0 on here: register broke"),
    ],
)
def test_without_windows_it_runs_plain_and_says_why(alone, library, change, reason):
    for name, value in change.items():
        setattr(library, name, value)
    backend = opened(alone, library)
    for _ in range(2):
        home = block(4096)
        operation = backend.prepare(one(buffers="symmetric"), array(4096, home), array(5000, home))
        assert operation.variant == "plain"
        assert len(operation.warnings) == 1
        assert f"NCCL ran without symmetric windows: {reason}" in operation.warnings[0]
    assert library.names().count("register") <= 1
    backend.close()
    assert "deregister" not in library.names()


def test_symmetric_buffers_that_are_in_no_symmetric_block_run_plain(alone, library):
    send = array(4096, block(4096, symmetric=False))
    operation = opened(alone, library).prepare(one(buffers="symmetric"), send, array(1, None))
    assert operation.warnings == (
        "NCCL ran without symmetric windows: the buffers are not in symmetric memory",
    )


def test_a_failed_registration_costs_the_communicator_and_older_calls_use_the_new_one(
    alone, library
):
    backend = opened(alone, library)
    older = backend.prepare(one(), array(0), array(512))
    library.broken = "register"
    home = block(4096)
    backend.prepare(one(buffers="symmetric"), array(4096, home), array(5000, home))
    assert library.names()[-4:] == ["register", "abort", "unique_id", "connect"]
    older.launch()
    assert library.calls[-1][6] == "comm2"


def test_a_window_that_another_rank_lacks_is_not_used(alone, library):
    world = two(alone, (23203, 90), None, None, False)
    home = block(4096)
    backend = opened(world, library)
    operation = backend.prepare(one(buffers="symmetric"), array(4096, home), array(5000, home))
    assert operation.variant == "plain"


def test_a_registration_that_hangs_is_a_timeout(alone, library):
    backend = opened(alone, library, timeout=1.0)
    library.late = "register"
    home = block(4096)
    with pytest.raises(TimedOut, match="in registering a window with NCCL"):
        backend.prepare(one(buffers="symmetric"), array(4096, home), array(5000, home))


# ---- the device ----------------------------------------------------------------------------------


def test_arrays_and_blocks_have_what_nccl_needs_of_them():
    assert {"address", "owner"} <= {field.name for field in fields(DeviceArray)}
    assert {"address", "nbytes", "symmetric"} <= {field.name for field in fields(GpuBlock)}
