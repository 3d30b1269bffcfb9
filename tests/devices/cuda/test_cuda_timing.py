"""The timed loop on a fake driver: what comes before what, and what the samples are."""

from __future__ import annotations

import numpy as np
import pytest
from fake_driver import CUresult

from nvrar_bench.backends.base import Operation
from nvrar_bench.devices.cuda import timing
from nvrar_bench.devices.cuda.calls import CudaError
from nvrar_bench.errors import TimedOut, UsageError
from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings
from nvrar_bench.toolchain.kernel import CUDA_GATE


class Kernel(Operation):
    """Two empty kernels, enqueued."""

    variant = "two kernels"
    stream_ordered = True

    def __init__(self, device, driver):
        self._device, self._log = device, driver.log
        self._kernel = device.context.load(device.build(CUDA_GATE), "nvrar_nothing")

    def launch(self):
        self._log.append("launch")
        for _ in range(2):
            self._device.context.launch(self._kernel, 1, 1)

    def confirm(self):
        self._log.append("confirm")


class Blocking(Operation):
    """Returns when it is done, as MPI does."""

    variant = "blocking"

    def __init__(self, log):
        self._log = log

    def launch(self):
        self._log.append("launch")

    def confirm(self):
        self._log.append("confirm")


class Opening(Gate):
    """Does `action`, and agrees on the moment before it."""

    def __init__(self, action):
        self._action, self._agreed = action, 0

    @property
    def agreed_ns(self):
        return self._agreed

    def __call__(self):
        self._agreed = MONOTONIC()
        self._action()


STEPS = (
    "prepare", "cuMemsetD8Async", "launch", "gate", "run nvrar_hold", "run nvrar_nothing",
    "cuEventElapsedTime", "confirm", "cuGraphLaunch",
)  # fmt: skip


@pytest.fixture
def time_calls(driver):
    """`time_calls(device, operation, samples=2)`: the samples and the log's steps."""

    def run(device, operation, samples=2, gate=None, prepare=None, batch=1):
        taken = Timings.empty(samples)
        driver.log.clear()
        device.timer.time_calls(
            operation,
            prepare or (lambda: driver.log.append("prepare")),
            Opening(gate or (lambda: driver.log.append("gate"))),
            taken,
            batch,
        )
        run.timings = taken
        return taken.durations.tolist(), driver.calls(*STEPS)

    return run


SAMPLE = [
    "prepare", "launch", "gate", "run nvrar_hold", "run nvrar_nothing", "run nvrar_nothing",
    "cuEventElapsedTime", "confirm",
]  # fmt: skip


def test_the_call_is_enqueued_behind_a_hold_that_ends_after_the_gate(device, driver, time_calls):
    """The time is that of the two kernels: neither the hold's nor the preparation's."""
    samples, steps = time_calls(device, Kernel(device, driver))
    assert samples == [2 * driver.kernel_ns] * 2
    assert steps == SAMPLE * 2


def test_a_batch_of_blocking_calls_stands_between_two_readings_of_the_clock(
    device, driver, time_calls, monkeypatch
):
    ticks = iter(range(0, 1000, 60))
    monkeypatch.setattr(timing, "MONOTONIC", lambda: next(ticks))
    samples, steps = time_calls(device, Blocking(driver.log), batch=3)
    assert samples == [20, 20]
    assert steps == ["prepare", "gate", *["launch"] * 3, "confirm"] * 2


@pytest.mark.parametrize("queued", [True, False])
def test_a_call_starts_when_the_gate_has_opened(device, driver, time_calls, queued):
    time_calls(device, Kernel(device, driver) if queued else Blocking(driver.log), samples=3)
    timings = time_calls.timings
    assert (timings.agreed > 0).all()
    assert (np.diff(timings.agreed) > 0).all()
    assert (timings.starts >= timings.agreed).all()
    assert (timings.starts[:-1] < timings.agreed[1:]).all()


def test_nothing_of_a_call_runs_before_the_gate_opens(device, driver, time_calls):
    event = driver.cuEventCreate(0)[1]

    def gate():
        """Ask for progress, as another rank's wait would."""
        driver.cuEventRecord(event, 0)
        assert driver.cuEventQuery(event)[0] == CUresult.CUDA_ERROR_NOT_READY
        assert "run nvrar_nothing" not in driver.log

    samples, _ = time_calls(device, Kernel(device, driver), samples=1, gate=gate)
    assert samples == [2 * driver.kernel_ns]


def test_what_prepares_a_call_is_not_timed(device, driver, time_calls):
    array = device.memory.keep(np.zeros(100))
    samples, _ = time_calls(
        device, Kernel(device, driver), prepare=lambda: device.verifier.spoil(array)
    )
    assert samples == [2 * driver.kernel_ns] * 2


def test_what_prepares_a_call_has_run_when_the_gate_is_reached(device, driver, time_calls):
    """Otherwise this rank would start late, and the others would wait for it, on the clock."""
    array = device.memory.keep(np.zeros(100))

    def gate():
        assert driver.log.count("run nvrar_spoil") == driver.log.count("launch")

    time_calls(
        device, Kernel(device, driver), gate=gate, prepare=lambda: device.verifier.spoil(array)
    )
    assert driver.log.count("run nvrar_spoil") == 2


def test_a_cold_cache_is_flushed_before_each_call(open_device, driver, time_calls):
    device = open_device(cold_cache=True)
    samples, steps = time_calls(device, Kernel(device, driver))
    assert samples == [2 * driver.kernel_ns] * 2
    assert steps == [SAMPLE[0], "cuMemsetD8Async", *SAMPLE[1:]] * 2
    assert any(array.nbytes == 2 * device.gpu.l2_bytes for array in driver.held.values())


def test_a_batch_is_held_and_let_go_as_one_and_a_sample_is_its_time_by_its_calls(
    device, driver, time_calls
):
    samples, steps = time_calls(device, Kernel(device, driver), batch=3)
    assert samples == [2 * driver.kernel_ns] * 2
    assert steps == [
        "prepare", *["launch"] * 3, "gate", "run nvrar_hold", *["run nvrar_nothing"] * 6,
        "cuEventElapsedTime", "confirm",
    ] * 2  # fmt: skip


def test_the_events_of_a_batch_cost_each_of_its_calls_a_part(
    device, driver, time_calls, monkeypatch
):
    """A call of 5 us between events that cost 2.8 us: 5.14 us in a batch of 20, 7.8 us alone."""
    between = timing.GpuTimer._between_ns
    monkeypatch.setattr(timing.GpuTimer, "_between_ns", lambda self: between(self) + 2800)
    driver.kernel_ns = 2500
    assert time_calls(device, Kernel(device, driver), batch=20)[0] == [5140] * 2
    assert time_calls(device, Kernel(device, driver))[0] == [7800] * 2


def test_events_are_made_once(device, driver, time_calls):
    time_calls(device, Kernel(device, driver), samples=5)
    assert "cuEventCreate" not in driver.log


def test_a_graph_holds_its_calls_and_a_sample_is_its_time_by_their_number(
    open_device, driver, time_calls
):
    device = open_device(graph=4)
    samples, steps = time_calls(device, Kernel(device, driver))
    assert samples == [2 * driver.kernel_ns] * 2
    replayed = ["run nvrar_nothing"] * 8
    assert steps == [
        *["launch"] * 4, "prepare", "cuGraphLaunch", *replayed, "confirm",
        *["prepare", "cuGraphLaunch", "gate", "run nvrar_hold", *replayed, "cuEventElapsedTime",
          "confirm"] * 2,
    ]  # fmt: skip
    assert driver.calls("cuGraphDestroy", "cuGraphExecDestroy") == [
        "cuGraphDestroy",
        "cuGraphExecDestroy",
    ]


def test_a_capture_that_fails_ends_and_says_why(open_device, driver, time_calls):
    device = open_device(graph=2)
    operation = Kernel(device, driver)
    operation.launch = lambda: (_ for _ in ()).throw(UsageError("cannot be captured"))
    driver.fail["cuStreamEndCapture"] = CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(UsageError, match="cannot be captured"):
        time_calls(device, operation)
    assert driver.log[-2:] == ["cuStreamEndCapture", "cuGetErrorString"]


def test_a_blocking_call_is_timed_by_the_host_on_a_drained_stream(
    device, driver, time_calls, monkeypatch
):
    ticks = iter(range(0, 1000, 7))
    monkeypatch.setattr(timing, "MONOTONIC", lambda: next(ticks))
    samples, steps = time_calls(device, Blocking(driver.log))
    assert samples == [7, 7]
    assert steps == ["prepare", "gate", "launch", "confirm"] * 2
    order = driver.calls("prepare", "cuEventRecord", "cuEventQuery", "gate")
    assert order == ["prepare", "cuEventRecord", "cuEventQuery", "gate"] * 2


def test_a_call_that_does_not_end_times_out(open_device, driver, time_calls):
    device = open_device(timeout=0.05)
    operation = Kernel(device, driver)
    with pytest.raises(TimedOut, match=r"rank 0 on here: .* two kernels in 0\.05 s"):
        time_calls(device, operation, gate=lambda: setattr(driver, "stuck", True))
    assert "confirm" not in driver.log


def test_a_hold_that_expired_makes_no_sample(device, driver, time_calls, monkeypatch):
    """The kernel itself says so: the word of its deadline is written, as by the GPU."""
    hold = device.timer._hold

    def gate():
        hold._expired.value = hold._ticket

    with pytest.raises(TimedOut, match=r"the start was not released in 5\.5 s"):
        time_calls(device, Kernel(device, driver), gate=gate)
    assert "confirm" not in driver.log


def test_the_holds_deadline_is_later_than_every_other(device, driver):
    assert device.timer._hold._timeout_ns == 5_500_000_000


def test_a_gate_that_fails_still_lets_the_stream_go(device, driver, time_calls):
    def gate():
        raise TimedOut("rank 3 is late")

    with pytest.raises(TimedOut, match="rank 3 is late"):
        time_calls(device, Kernel(device, driver), gate=gate)
    device.finish(Blocking(driver.log))


def test_a_launch_that_fails_still_lets_the_stream_go(device, driver, time_calls):
    operation = Kernel(device, driver)
    operation.launch = lambda: (_ for _ in ()).throw(CudaError("cuLaunchKernel", "NO", ""))
    with pytest.raises(CudaError):
        time_calls(device, operation)
    device.finish(Blocking(driver.log))


@pytest.mark.parametrize("value", ["1", "yes"])
def test_launches_that_block_are_refused(open_device, monkeypatch, value):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", value)
    with pytest.raises(UsageError, match=f"CUDA_LAUNCH_BLOCKING={value}: .*unset it"):
        open_device()


def test_launches_that_do_not_block_are_not(open_device, monkeypatch):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "0")
    open_device()


def test_the_ruler_is_of_samples_in_which_nothing_is_called(device, driver):
    """Behind a hold, and on a clock of which a pair of events shows 2.75 to 2.8 us."""
    driver.log.clear()
    ticks = iter([2.75, 2.784, 2.8, 2.784] * 16)
    device.timer._between_ns = lambda: next(ticks) * 1e3
    assert device.timer.event_ruler_ns == (pytest.approx(16.0), 2784.0)
    assert driver.log.count("run nvrar_hold") == 64


def test_the_resolution_is_the_smallest_time_above_nothing(device, driver, monkeypatch):
    elapsed = iter([0.0, 0.002, 0.0005, 0.0] * 16)
    monkeypatch.setattr(timing.GpuTimer, "_between_ns", lambda self: next(elapsed) * 1e6)
    assert device.facts()["event_resolution_us"] == 0.5
