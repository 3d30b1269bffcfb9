"""The backend around the kernel: epochs, protocols, memory; here on one rank, without MPI."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.backends.nvrar.backend import FLAG_SPAN, NvrarBackend, describe
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.toolchain.structs import CFailure

WINDOW_BYTES = HostEngine.limits.window_bytes


def a_case(nbytes: int, protocol: str = "signal", **choices: str):
    named = {f"{name}s": (value,) for name, value in choices.items()}
    (case,) = build_plan((nbytes,), protocols=(protocol,), **named)
    return case


@pytest.fixture
def backend(alone):
    return NvrarBackend(alone, HostEngine(alone, CpuDevice(alone, 5.0)), 5.0)


class Clearing(NvrarBackend):
    """Counts how often staging memory was cleared."""

    def __init__(self, epoch: int) -> None:
        self._epoch, self.cleared, self.begun = epoch, 0, 0

    def _clear_staging(self) -> None:
        self.cleared += 1

    def _write_epochs(self) -> None:
        pass


@given(
    st.integers(0, 3).map(lambda k: k * FLAG_SPAN),
    st.integers(-20, 20),
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
)
def test_no_flag_comes_round_again_before_staging_is_cleared(multiple, offset, calls):
    backend = Clearing(max(1, multiple + offset))
    used, last, clearings = set(), 0, 0
    for windows in calls:
        first = backend.take_epochs(windows)
        backend.begun = 0  # the call has run
        if backend.cleared > clearings:
            used, clearings = set(), backend.cleared
        assert first > last
        last = first + windows - 1
        flags = {epoch % FLAG_SPAN for epoch in range(first, last + 1)}
        assert 0 not in flags
        assert len(flags) == windows
        assert not flags & used
        # Flags never go down but where staging is cleared: a cell's old flag is a smaller one.
        assert not used or min(flags) > max(used)
        used |= flags
    assert backend.cleared <= 1


def test_epochs_follow_each_other_without_gaps_where_nothing_wraps(backend):
    assert [backend.take_epochs(windows) for windows in (1, 3, 1, 2)] == [1, 2, 5, 6]


@pytest.mark.parametrize(
    ("protocol", "nbytes", "windows"),
    [
        ("signal", 4, 1),
        ("signal", WINDOW_BYTES["signal"], 1),
        ("signal", WINDOW_BYTES["signal"] + 4, 2),
        ("packet", WINDOW_BYTES["packet"], 1),
        ("packet", 3 * WINDOW_BYTES["packet"] - 4, 3),
        ("packet", 3 * WINDOW_BYTES["packet"] + 4, 4),
    ],
)
def test_a_call_takes_an_epoch_for_each_window(backend, protocol, nbytes, windows):
    send = np.ones(nbytes // 4, np.float32)
    operation = backend.prepare(a_case(nbytes, protocol, buffer="private"), send, send.copy())
    operation.launch()
    assert backend.take_epochs(1) == 1 + windows


@pytest.mark.parametrize("protocol", ["signal", "packet"])
def test_one_rank_alone_gets_its_own_data(backend, protocol):
    send, recv = np.arange(1003, dtype=np.float32), np.zeros(1003, np.float32)
    operation = backend.prepare(a_case(4012, protocol), send, recv)
    operation.launch()
    assert np.array_equal(recv, send)
    assert operation.variant == protocol


def test_auto_is_signal_on_cpu_ranks(backend):
    assert [backend.kernel(a_case(4096, p)).protocol for p in ("auto", "signal", "packet")] == [
        "signal", "signal", "packet",
    ]  # fmt: skip


def test_buffers_are_shared_only_if_both_are_symmetric(backend):
    device = backend.device
    symmetric = [device.memory.allocate(4096, "symmetric").bytes.view(np.float32) for _ in range(2)]
    private = np.zeros(1024, np.float32)
    pairs = [(symmetric[0], symmetric[1]), (symmetric[0], private), (private, symmetric[0])]
    staged = [backend.prepare(a_case(4096), send, recv).seats[0].staged for send, recv in pairs]
    assert staged == [0, 1, 1]


def test_staging_memory_is_allocated_once_for_each_protocol_and_given_back(backend):
    buffer = np.zeros(8, np.float32)
    for protocol in ("signal", "packet", "auto", "packet"):
        backend.prepare(a_case(32, protocol), buffer, buffer)
    assert len(backend.device.memory._blocks) == 2
    backend.close()
    assert backend.device.memory._blocks == []


def test_describe_names_all_of_a_failure():
    failure = CFailure(code=1, phase=2, step=3, peer=4, chunk=5, expected=6, seen=7)
    assert describe(failure) == (
        "phase exchange between nodes, step 3, waiting for rank 4, chunk 5, expected flag 6, saw 7"
    )
    assert "waiting for rank 4 (b), chunk 5" in describe(failure, ["a", "a", "a", "b", "b", "b"])
    assert describe(CFailure(phase=1)).startswith("phase reduce-scatter,")
    assert describe(CFailure(phase=3)).startswith("phase all-gather,")


def test_the_timeout_reaches_the_kernel_in_nanoseconds(backend):
    buffer = np.zeros(8, np.float32)
    (arguments,) = backend.prepare(a_case(32), buffer, buffer).seats
    assert arguments.timeout_ns == 5_000_000_000


def test_graphs_count_in_the_kernel_alone(backend):
    """What a graph replays is not launched from here; the next case learns how far it came."""
    backend.engine.stream_ordered = True
    backend.epochs.write([77])
    buffer = np.ones(8, np.float32)
    backend.prepare(a_case(32), buffer, buffer).launch()
    assert backend.take_epochs(1) == 78
    backend.epochs.write([FLAG_SPAN // 2 + 5])
    backend.prepare(a_case(32), buffer, buffer).launch()
    assert backend.take_epochs(1) == FLAG_SPAN + 2
    assert backend.epochs.read() == [FLAG_SPAN + 2]
