"""NVRAR's launches on a GPU, on a driver that runs them as CPU threads: all but the GPU itself."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cuda import LoopbackEngine
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.devices.gate import OpenGate
from nvrar_bench.errors import TimedOut, UsageError
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.run.point_group import PointGroup, TurnOrder
from nvrar_bench.run.starts import Start
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.stopping import Stopping
from nvrar_bench.verify import Expected

TUNING = Tuning(threads=32)
COUNT = 1500


@pytest.fixture
def nvrar(open_device, driver):
    """`nvrar(ranks=4, nodes=2)`: a backend for virtual ranks on the fake GPU."""

    def make(ranks: int = 4, nodes: int = 2, tuning: Tuning = TUNING, **options) -> NvrarBackend:
        driver.memory = 1 << 31
        device = open_device(virtual_ranks=ranks, timeout=20.0, **options)
        world = device.world.with_nodes(nodes)
        return NvrarBackend(world, LoopbackEngine(world, device), 20.0, tuning)

    return make


def run(backend: NvrarBackend, case, iters: int = 3):
    device = backend.device
    buffers = SweepBuffers(device, case.size_bytes, case.buffers).of(case)
    known = KnownInputs((case,), device, 3, with_results=True).of(case)
    block = PointGroup(device, Start(OpenGate()), lambda _: nullcontext(), lambda: None)
    block.add(case, [backend], buffers, known, Stopping(iters).rule)
    block.run(1, TurnOrder(0, 0, 0), stop_at_wrong=False)
    (point,) = block.points
    return point


@pytest.mark.parametrize("placement", ["out_of_place", "in_place"])
@pytest.mark.parametrize("buffers", ["symmetric", "private"])
@pytest.mark.parametrize("protocol", ["signal", "packet"])
def test_a_case_is_timed_and_right_on_every_rank(nvrar, driver, protocol, buffers, placement):
    (case,) = build_plan(
        counts=(COUNT,), protocols=(protocol,), buffers=(buffers,), placements=(placement,)
    )
    measured = run(nvrar(), case)
    assert measured.operation.variant == protocol
    assert measured.checks
    assert {check.wrong for check in measured.checks} == {0}
    assert len(measured.checks) % 4 == 0
    assert not measured.canary_broken
    assert set(measured.durations) == {driver.kernel_ns}
    (warning,) = measured.operation.warnings
    assert warning.startswith("virtual ranks share one GPU")


def test_a_case_in_graphs(nvrar, driver):
    (case,) = build_plan(counts=(COUNT,), protocols=("packet",))
    backend = nvrar(graph=3)
    measured = run(backend, case, iters=2)
    assert {check.wrong for check in measured.checks} == {0}
    assert set(measured.durations) == {driver.kernel_ns}
    # The kernels have counted what was replayed, and the next case goes on from there.
    (epoch,) = set(backend.epochs.read())
    assert epoch > backend._epoch
    measured = run(backend, case, iters=1)
    assert {check.wrong for check in measured.checks} == {0}


def test_a_damaged_result_is_seen(nvrar):
    backend = nvrar()
    (case,) = build_plan(counts=(COUNT,))
    right = KnownInputs((case,), backend.device, 3, with_results=True).of(case)[0].expected
    wrong = backend.device.memory.to_host(right.value)
    wrong[7] += 1
    received = backend.device.memory.keep(np.stack([wrong] * 4))
    results = backend.device.verifier.check(received, Expected(right.value, None)).results
    assert [(one.wrong, one.first_wrong["index"]) for one in results] == [(1, 7)] * 4


def test_a_rank_that_is_late_is_named_and_nothing_runs_afterwards(nvrar):
    backend = nvrar(ranks=2, nodes=1)
    backend.timeout = 0.3
    (case,) = build_plan(counts=(COUNT,), protocols=("signal",), buffers=("private",))
    buffers = SweepBuffers(backend.device, case.size_bytes, "private").of(case)
    operation = backend.prepare(case, buffers.send, buffers.recv)
    operation.seats[1].count = 0
    operation._launch = backend.engine.bind(
        backend.kernel(case), operation.seats, _launch(operation)
    )
    operation.launch()
    with pytest.raises(
        TimedOut, match=r"^NVRAR gave up after 0.3 s on rank 0 .* waiting for rank 1"
    ):
        backend.device.finish(operation)
    assert backend.epochs.read()[0] == 0
    with pytest.raises(TimedOut, match="waiting for rank 1"):
        operation.launch()


def _launch(operation):
    from nvrar_bench.devices.operation import Shape

    seat = operation.seats[0]
    return Shape("signal", int(seat.blocks), 32, int(seat.chunk_bytes), 2)


def test_the_multiprocessors_are_shared_among_the_ranks(nvrar, driver):
    assert nvrar(ranks=2, nodes=1).engine.limits.blocks == 2  # of 4 multiprocessors
    assert nvrar(ranks=2, nodes=1).engine.limits.max_blocks == 4  # two on each
    assert nvrar(ranks=8, nodes=1).engine.limits.blocks == 1
    with pytest.raises(UsageError, match=r"^--threads 16: allowed here: 32 to 512$"):
        nvrar(tuning=Tuning(threads=16))


def test_a_launch_runs_the_kernel_of_its_class(nvrar):
    backend = nvrar(ranks=4, nodes=1, tuning=Tuning())
    chosen = {
        size: backend.chooser.choose(backend.tuning, one)
        for size in (4 << 10, 64 << 10)
        for one in build_plan((size,), protocols=("signal",))
    }
    assert [one.shape.threads for one in chosen.values()] == [256, 512]
    (case,) = build_plan((64 << 10,), protocols=("signal",))
    assert backend.kernel(case).launch_class == 512
    (case,) = build_plan((64 << 10,), protocols=("packet",))
    assert replace(backend.kernel(case), launch_class=256) in backend.kernels(
        build_plan((4 << 10,), protocols=("packet",))
    )


def test_two_blocks_share_a_multiprocessor(nvrar, driver):
    """The GPU holds two of class 512; what it does not hold is refused though limits allow it."""
    backend = nvrar(ranks=2, nodes=1, tuning=Tuning(blocks=4, threads=32))
    (case,) = build_plan(counts=(COUNT,), protocols=("signal",))
    driver.blocks_per_sm = 2
    measured = run(backend, case, iters=1)
    assert {check.wrong for check in measured.checks} == {0}
    driver.blocks_per_sm = 1
    backend = nvrar(ranks=2, nodes=1, tuning=Tuning(blocks=4, threads=32))
    buffers = SweepBuffers(backend.device, case.size_bytes, "symmetric").of(case)
    with pytest.raises(UsageError, match="8 blocks of 32 threads wait for each other"):
        backend.prepare(case, buffers.send, buffers.recv)


def test_a_launch_that_the_gpu_cannot_hold_is_refused(nvrar, driver):
    backend = nvrar(ranks=4, nodes=1)
    driver.blocks_per_sm = 0
    (case,) = build_plan(counts=(COUNT,))
    buffers = SweepBuffers(backend.device, case.size_bytes, "symmetric").of(case)
    with pytest.raises(UsageError, match="wait for each other"):
        backend.prepare(case, buffers.send, buffers.recv)


def test_buffers_that_are_not_aligned_are_refused(nvrar):
    backend = nvrar()
    device = backend.device
    (case,) = build_plan(counts=(8,))
    block = device.memory.allocate(4096, "private")
    crooked = block.view(4, case.size_bytes, np.dtype(np.float32))
    with pytest.raises(UsageError, match=r"allowed on cuda: multiples of 16$"):
        backend.prepare(case, crooked, crooked)


def test_too_many_virtual_ranks(open_device):
    device = open_device(virtual_ranks=17)
    with pytest.raises(UsageError, match=r"^--virtual-ranks 17: allowed: 1 to 16$"):
        LoopbackEngine(device.world, device)
