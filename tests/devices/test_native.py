"""Native calls: what is called with what, when, between what, and what comes of it."""

from __future__ import annotations

import ctypes
import time

import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import NativeCall, Operation, address_of
from nvrar_bench.errors import TimedOut
from nvrar_bench.timing.loop import Gate, Timings

LIBC = ctypes.CDLL(None)
NAP_US = 2000


class Noting(Operation):
    """Notes what is done with it; `failing` is the call before which it breaks."""

    variant = "noting"

    def __init__(self, native, failing=-1):
        self.native, self.failing = native, failing
        self.seen, self.begun = [], 0

    def launch(self):
        self.seen.append("launch")

    def begin_native(self, batch):
        self.batch = batch
        if self.begun == self.failing:
            raise TimedOut("an earlier call failed")
        self.begun += 1
        self.seen.append("begin")

    def end_native(self, result):
        self.seen.append(result)


class OtherGate(Gate):
    """One that is not in shared memory."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self):
        self.seen.append("gate")


def text_to_int(text):
    """`atoi(text)`, and what keeps its argument alive."""
    memory = ctypes.create_string_buffer(text)
    return NativeCall(address_of(LIBC.atoi), (ctypes.addressof(memory),)), memory


@pytest.fixture
def device(alone):
    device = CpuDevice(alone, 1.0)
    device.gate = device.start_gate()
    return device


def test_the_function_gets_its_arguments_and_its_result_is_an_int(device):
    native, _memory = text_to_int(b"-70000")
    operation = Noting(native)
    device.timer.time_calls(
        operation, lambda: operation.seen.append("prepare"), device.gate, Timings.empty(2)
    )
    assert operation.seen == ["prepare", "begin", -70000] * 2


def test_six_words(device):
    """mmap of one page, at a hint that the kernel takes."""
    hint, anonymous_private, read = 0x7000_0000, 0x22, 1
    words = (hint, 4096, read, anonymous_private, 2**64 - 1, 0)
    operation = Noting(NativeCall(address_of(LIBC.mmap), words))
    device.timer.time_calls(operation, lambda: None, device.gate, Timings.empty(1))
    assert operation.seen == ["begin", hint]
    LIBC.munmap(ctypes.c_void_p(hint), ctypes.c_size_t(4096))


def test_a_sample_is_the_call_alone_right_behind_the_start(device):
    timings = Timings.empty(3)
    operation = Noting(NativeCall(address_of(LIBC.usleep), (NAP_US,)))
    before = time.perf_counter_ns()
    device.timer.time_calls(operation, lambda: time.sleep(0.01), device.gate, timings)
    after = time.perf_counter_ns()
    assert (timings.durations >= NAP_US * 1000).all()
    assert (timings.agreed > before).all()
    assert (timings.starts >= timings.agreed).all()
    assert (timings.starts + timings.durations <= after).all()
    assert (timings.starts[1:] - timings.starts[:-1] - timings.durations[:-1] >= 10_000_000).all()


def test_behind_another_gate(device):
    native, _memory = text_to_int(b"5")
    operation, timings = Noting(native), Timings.empty(2)
    device.timer.time_calls(operation, lambda: None, OtherGate(operation.seen), timings)
    assert operation.seen == ["begin", "gate", 5] * 2
    assert (timings.starts > 0).all()
    assert not timings.agreed.any()


def test_nothing_is_called_after_a_call_that_failed(device):
    native, _memory = text_to_int(b"5")
    operation = Noting(native, failing=1)
    with pytest.raises(TimedOut, match="an earlier call failed"):
        device.timer.time_calls(operation, lambda: None, device.gate, Timings.empty(3))
    assert operation.seen == ["begin", 5]


def counted(seen, result=0, failing=-1):
    """A C function that notes its calls; `failing` is the call that leaves a word that tells."""
    word = ctypes.c_uint64(0)

    def call():
        word.value = seen.count("call") == failing
        seen.append("call")
        return result

    function = ctypes.CFUNCTYPE(ctypes.c_int)(call)
    return function, word


def test_a_batch_is_called_behind_one_start(device):
    operation = Noting(None)
    function, _word = counted(operation.seen)
    operation.native = NativeCall(address_of(function))
    timings = Timings.empty(2)
    device.timer.time_calls(operation, lambda: None, OtherGate(operation.seen), timings, 3)
    assert operation.seen == ["begin", "gate", "call", "call", "call", 0] * 2
    assert operation.batch == 3


def test_a_sample_of_a_batch_is_the_time_of_a_call(device):
    timings = Timings.empty(2)
    operation = Noting(NativeCall(address_of(LIBC.usleep), (NAP_US,)))
    before = time.perf_counter_ns()
    device.timer.time_calls(operation, lambda: None, device.gate, timings, 5)
    lasted = time.perf_counter_ns() - before
    assert (timings.durations >= NAP_US * 1000).all()
    assert timings.durations.sum() * 5 <= lasted


@pytest.mark.parametrize(
    ("result", "has_word", "failing", "calls"),
    [(0, False, -1, 4), (7, False, -1, 1), (7, True, -1, 4), (0, True, 1, 2)],
)
def test_no_call_of_a_batch_follows_one_that_failed(device, result, has_word, failing, calls):
    """What it returns tells, or else the word that the operation names."""
    operation = Noting(None)
    function, word = counted(operation.seen, result, failing)
    failure = ctypes.addressof(word) if has_word else 0
    operation.native = NativeCall(address_of(function), (), failure)
    device.timer.time_calls(operation, lambda: None, device.gate, Timings.empty(1), 4)
    assert operation.seen == ["begin", *["call"] * calls, result]


def test_an_operation_without_one_is_launched(device):
    operation = Noting(None)
    device.timer.time_calls(operation, lambda: None, device.gate, Timings.empty(2))
    assert operation.seen == ["launch"] * 2


def test_nothing_takes_less_than_a_call_from_python(device):
    """Not by the clock's noise: the better of many."""
    nothing, empty = Timings.empty(300), Timings.empty(300)
    device.timer.time_calls(Noting(device.timer.nothing), lambda: None, device.gate, nothing)
    device.timer.time_calls(Noting(None), lambda: None, device.gate, empty)
    assert nothing.durations.min() <= empty.durations.min()


def test_virtual_ranks_are_timed_from_python(alone):
    device = CpuDevice(alone.with_virtual_ranks(2), 1.0)
    device.start_gate()
    assert device.timer.nothing is None
