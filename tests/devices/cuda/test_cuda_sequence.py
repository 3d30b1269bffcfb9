"""A decode step on a fake GPU: one graph, what it launches and in which order, and its results."""

from __future__ import annotations

import pytest

from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cuda import LoopbackEngine
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.work import Spin, Stream
from nvrar_bench.errors import TimedOut
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.loop import Gate, Timings

RANKS = 2
# Llama 3.1 405B in bfloat16 on 8 ranks: what one of them reads of each half of a layer and for the
# last matrix, and the message of one token.
LAYERS, HIDDEN, KEYS, MLP, VOCABULARY = 126, 16384, 1024, 53248, 128256
ATTENTION_BYTES = 2 * HIDDEN * (2 * HIDDEN + 2 * KEYS) // 8
MLP_BYTES = 2 * HIDDEN * 3 * MLP // 8
HEAD_BYTES = 2 * HIDDEN * VOCABULARY // 8
LAUNCHES = 4 * LAYERS + 1
CALLS = ("cuLaunchKernel", "cuGraphLaunch", "cuStreamBeginCapture")


class Open(Gate):
    def __call__(self):
        """Leave."""


class Part(Operation):
    """Notes when it is launched, and asked; `queued` or not."""

    variant = "noting"

    def __init__(self, log, queued=True):
        self._log, self.stream_ordered = log, queued

    def launch(self):
        self._log.append("launch")

    def confirm(self):
        self._log.append("confirm")


def test_the_step_of_a_large_model_is_one_graph(open_device, driver):
    """Behind the first launch, which no graph can be; its epochs count on by themselves."""
    driver.memory = 1 << 31
    device = open_device(virtual_ranks=RANKS, timeout=60.0)
    engine = LoopbackEngine(device.world, device)
    nvrar = NvrarBackend(device.world, engine, 60.0, Tuning(blocks=1, threads=32))
    (case,) = build_plan(counts=(HIDDEN,), dtypes=("bfloat16",), protocols=("signal",))
    buffers = SweepBuffers(device, case.size_bytes, "symmetric").of(case)
    known = KnownInputs((case,), device, 3, with_results=True).of(case)
    all_reduce = nvrar.prepare(case, buffers.send, buffers.recv)
    attention, mlp, head = map(device.work, map(Stream, (ATTENTION_BYTES, MLP_BYTES, HEAD_BYTES)))
    step = device.sequence([*[attention, all_reduce, mlp, all_reduce] * LAYERS, head])
    assert (step.variant, step.stream_ordered) == ("signal", True)
    queued, graph = ["cuLaunchKernel"] * LAUNCHES, ["cuGraphLaunch"]
    for number, expected in enumerate((queued, ["cuStreamBeginCapture", *queued, *graph], graph)):
        # To compute the first of the three as well would take seconds.
        driver.noted = (
            {"nvrar_read_memory", "nvrar_all_reduce"} if number == 0 else {"nvrar_read_memory"}
        )
        buffers.restore(known[number % 2].inputs)
        buffers.spoil()
        device.context.drain("inputs")
        driver.log.clear()
        driver.notes.clear()
        step.launch()
        assert driver.calls(*CALLS) == expected
        device.finish(step)
        run = [line.split()[1] for line in driver.log if line.startswith("run ")]
        assert run == [*["nvrar_read_memory", "nvrar_all_reduce"] * 2 * LAYERS, "nvrar_read_memory"]
        reads = [arguments[1] // RANKS for _, arguments in driver.notes]
        assert reads == [*[ATTENTION_BYTES, MLP_BYTES] * LAYERS, HEAD_BYTES]
        found = known[number % 2].check(buffers.recv, buffers.around)
        assert [result.wrong > 0 for result in found.results] == [number == 0] * RANKS
        epochs = nvrar.epochs.read()[:: engine.limits.max_blocks]
        assert epochs == [1 + 2 * LAYERS * number] * RANKS
    driver.noted.add("nvrar_all_reduce")
    timings = Timings.empty(2)
    device.timer.time_calls(step, lambda: None, Open(), timings)
    assert timings.durations.tolist() == [LAUNCHES * driver.kernel_ns] * 2
    step.close()
    assert driver.calls("cuGraphExecDestroy") == ["cuGraphExecDestroy"]


@pytest.mark.parametrize(("graph", "queued"), [(False, True), (True, False)])
def test_without_a_graph_every_launch_queues_all_and_waits(device, driver, graph, queued):
    """A part that itself waits, as MPI's call does, rules a graph out."""
    part = Part(driver.log, queued)
    spins = device.work(Spin(5)), device.work(Spin(6))
    step = device.sequence([part, spins[0], part, spins[1]], graph=graph)
    assert not step.stream_ordered
    for _ in range(2):
        driver.log.clear()
        step.launch()
        kept = driver.calls(*CALLS, "launch", "run nvrar_spin")
        assert kept == [*["launch", "cuLaunchKernel"] * 2, *["run nvrar_spin"] * 2]
    driver.log.clear()
    timings = Timings.empty(1)
    device.timer.time_calls(step, lambda: None, Open(), timings)
    assert timings.durations[0] > 0
    assert driver.calls("launch", "cuEventElapsedTime", "confirm") == ["launch"] * 2 + ["confirm"]


def test_a_step_that_does_not_end_is_told_of(device, driver):
    step = device.sequence([device.work(Spin(5))])
    driver.stuck = True
    step.launch()
    with pytest.raises(TimedOut, match=r"the GPU did not finish work in 0\.5 s"):
        device.finish(step)


def test_what_is_captured_last_is_what_a_broken_capture_leaves(device, driver):
    """A part that cannot be captured ends the capture, and its error is the one that is raised."""

    class Broken(Part):
        def launch(self):
            super().launch()
            if "cuStreamBeginCapture" in driver.log:
                raise TimedOut("not in a capture")

    step = device.sequence([Broken(driver.log)])
    step.launch()
    with pytest.raises(TimedOut, match="not in a capture"):
        step.launch()
    assert "cuStreamEndCapture" in driver.log
    step.close()
