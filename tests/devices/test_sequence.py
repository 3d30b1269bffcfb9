"""Several operations as one: order, failure, clocks; between ranks in worker_sequence.py."""

from __future__ import annotations

import ctypes
import json
import re
from pathlib import Path

import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import NativeCall, Operation, WorkPart, address_of
from nvrar_bench.devices.work import Spin
from nvrar_bench.errors import TimedOut
from nvrar_bench.timing.loop import Gate, Timings

HERE = Path(__file__).parent


class Part(Operation):
    """Notes what is done with it; natively, too. Call `failing` returns 7, or leaves a word."""

    def __init__(self, name, seen, failing=-1, has_word=False):
        self.variant, self.warnings, self._seen = name, (f"{name} is slow", "all are"), seen
        self.calls, self.word = 0, ctypes.c_uint64(0)

        def call():
            is_failing = self.calls == failing
            self.calls += 1
            seen.append(name)
            self.word.value = is_failing
            return 7 * is_failing if not has_word else 7

        self._function = ctypes.CFUNCTYPE(ctypes.c_int)(call)
        failure = ctypes.addressof(self.word) if has_word else 0
        self.native = NativeCall(address_of(self._function), (), failure)

    def launch(self):
        self._seen.append(f"launch {self.variant}")

    def begin_native(self, batch):
        self._seen.append(f"begin {batch} {self.variant}")

    def end_native(self, result):
        self._seen.append(f"end {result} {self.variant}")
        if result or self.word.value:
            raise TimedOut(f"{self.variant} failed")

    def confirm(self):
        self._seen.append(f"confirm {self.variant}")

    def close(self):
        self._seen.append(f"close {self.variant}")


class Open(Gate):
    def __call__(self):
        """Leave."""


@pytest.fixture
def device(alone):
    return CpuDevice(alone, 1.0)


def test_parts_with_native_calls_are_one_call(device):
    seen = []
    one, other = Part("one", seen), Part("other", seen, has_word=True)
    sequence = device.sequence([one, other, device.work(Spin(1)), one])
    assert sequence.variant == "one+other"
    assert sequence.warnings == ("one is slow", "all are", "other is slow")
    ends = ["end 0 one", "end 0 other"]
    sequence.launch()
    assert seen == ["begin 2 one", "begin 1 other", "one", "other", "one", *ends]
    seen.clear()
    device.timer.time_calls(sequence, lambda: None, Open(), Timings.empty(1), 2)
    assert seen == ["begin 4 one", "begin 2 other", *["one", "other", "one"] * 2, *ends]
    seen.clear()
    sequence.confirm()
    sequence.close()
    assert seen == ["confirm one", "confirm other", "close one", "close other"]


@pytest.mark.parametrize("has_word", [False, True])
@pytest.mark.parametrize("timed", [False, True])
def test_nothing_runs_behind_a_part_that_failed_and_it_says_so_itself(device, has_word, timed):
    seen = []
    one, failing = Part("one", seen), Part("failing", seen, 1, has_word)
    sequence = device.sequence([one, failing, one])
    sequence.launch()
    seen.clear()
    arguments = sequence, lambda: None, Open(), Timings.empty(2), 3
    with pytest.raises(TimedOut, match=r"^failing failed$"):
        device.timer.time_calls(*arguments) if timed else sequence.launch()
    assert [text for text in seen if "begin" not in text] == ["one", "failing", "end 7 failing"]


def test_a_part_without_a_native_call_is_launched_and_so_are_all(device):
    seen = []
    one, other = Part("one", seen), Part("other", seen)
    other.native = None
    sequence = device.sequence([one, other, one])
    assert sequence.native is None
    device.timer.time_calls(sequence, lambda: None, Open(), Timings.empty(1))
    assert seen == ["launch one", "launch other", "launch one"]


def test_a_sequence_of_nothing_or_of_work_alone(device):
    for parts in ([], [device.work(Spin(1_000_000))]):
        sequence, timings = device.sequence(parts), Timings.empty(1)
        device.timer.time_calls(sequence, lambda: None, Open(), timings)
        assert sequence.variant == "work"
        assert timings.durations[0] >= 1_000_000 * len(parts)


def test_clocks_of_their_own_are_all_that_counts(device):
    class Clocked(WorkPart):
        now = 0
        clock = staticmethod(lambda: Clocked.now)

        def launch(self):
            Clocked.now += 30

    class Other(Clocked):
        clock = staticmethod(lambda: Other.now)

        def launch(self):
            Other.now += 5

    Other.now = 100
    one, other = Clocked(), Other()
    timings = Timings.empty(2)
    sequence = device.sequence([one, other, device.work(Spin(10)), one])
    device.timer.time_calls(sequence, lambda: None, Open(), timings)
    assert timings.durations.tolist() == [65, 65]
    assert not timings.starts.any()


def test_between_ranks(run_ranks):
    """MPI's and NVRAR's all-reduces, with work between them."""
    done = run_ranks(2, HERE / "worker_sequence.py")
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["problems"] == [[], []]
    assert found["checks"] == [12 * 6] * 2
    # 60 calls from 20 before the wrap, which comes before the third of a step: the two ahead of it
    # were counted, and run with new flags as well; 0 is left out.
    assert found["epochs"] == [[2**32 - 20 + 60 + 2 + 1] * 2] * 2
    assert found["mpi"] == [found["single"]["mpi"]] * 2 == ["0 beyond MPI_ERR_COUNT"] * 2
    (waited, read), (rest, read_by_rest) = found["waits"]
    wait = r"NVRAR gave up after 0.3 s on rank 0 \(.*\): phase one-shot, step 0, waiting for "
    wait += "rank 1, chunk 0, expected flag 1, saw 0"
    assert re.fullmatch(wait, waited)
    assert waited == found["single"]["nvrar"]
    assert rest is None
    assert (read, read_by_rest) == (2, 2)  # nothing ran behind it
