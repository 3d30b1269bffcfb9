"""How many calls of the CUDA driver a verified case takes, counted on the fake driver.

On a GPU each call costs microseconds and each wait tens of them, so a check of thousands of cases
is as fast as these numbers are small. They are in docs/gpu.md.
"""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import pytest

from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cuda import LoopbackEngine
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.devices.gate import OpenGate
from nvrar_bench.plan import Case
from nvrar_bench.run.buffers import KnownInputs, SweepBuffers
from nvrar_bench.run.point_group import PointGroup, TurnOrder
from nvrar_bench.run.soak import Soak
from nvrar_bench.run.starts import Start
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.timing.stopping import Stopping

RANKS = 8
MEMORY_AND_MODULES = (
    "cuMemAlloc", "cuMemFree", "cuMemHostAlloc", "cuMemFreeHost", "cuLibraryLoadData",
    "cuLibraryGetKernel", "cuEventCreate", "cuStreamCreate",
)  # fmt: skip


class Counted:
    """Cases of a check on 8 virtual ranks in 2 nodes, and what the driver heard of each."""

    def __init__(self, open_device, driver, ranks: int = RANKS):
        driver.memory, self.driver = 1 << 31, driver
        device = open_device(virtual_ranks=ranks, timeout=20.0)
        self.device, world = device, device.world.with_nodes(2)
        engine = LoopbackEngine(world, device)
        self.backend = NvrarBackend(world, engine, 20.0, Tuning(threads=32))
        self.buffers = SweepBuffers(device, 4096, "symmetric")
        cases = build_plan(counts=(1000,), dtypes=("float32", "int32"), protocols=("signal",))
        self.known = KnownInputs(cases, device, 3, with_results=True)
        self.case, self.other = cases

    def check(self, case: Case) -> Counter[str]:
        """As `check` runs a case: verified calls, a turn of one, and one more."""
        self.driver.log.clear()
        block = PointGroup(self.device, Start(OpenGate()), lambda _: nullcontext(), lambda: None)
        known = self.known.of(case)
        block.add(case, [self.backend], self.buffers.of(case), known, Stopping(1).rule)
        block.run(0, TurnOrder(0, 0, 0), stop_at_wrong=False)
        assert {found.wrong for found in block.points[0].checks} == {0}
        return self.heard()

    def heard(self) -> Counter[str]:
        return Counter(name for name in self.driver.log if name.startswith("cu"))


@pytest.fixture
def counted(open_device, driver) -> Counted:
    return Counted(open_device, driver)


def waits(heard: Counter[str]) -> int:
    return heard["cuEventQuery"]


def test_a_warm_case(counted):
    """Four verified calls, a turn of one timed call, which is verified too, and one more."""
    counted.check(counted.case)
    heard = counted.check(replace(counted.case, count=999, size_bytes=3996))
    assert (heard.total(), waits(heard)) == (81, 16)
    assert not any(heard[name] for name in MEMORY_AND_MODULES)


def test_the_first_case_of_another_type(counted):
    """Its inputs and results are made anew, in the memory of those before."""
    counted.check(counted.case)
    counted.check(counted.other)
    heard = counted.check(counted.case)
    assert (heard.total(), waits(heard)) == (91, 18)
    assert not any(heard[name] for name in MEMORY_AND_MODULES)


def test_a_call_of_a_soak(counted):
    soak = Soak(counted.device, [counted.backend], 0, lambda: None, lambda *_: None)
    case = replace(counted.case, count=999, size_bytes=3996)
    for number in (0, 1):
        counted.driver.log.clear()
        soak._call(counted.backend, case, counted.known.of(case)[number])
    heard = counted.heard()
    assert (heard.total(), waits(heard)) == (14, 3)


def test_as_many_calls_for_any_number_of_ranks(open_device, driver):
    counted = Counted(open_device, driver, ranks=2)
    counted.check(counted.case)
    heard = counted.check(replace(counted.case, count=999, size_bytes=3996))
    assert (heard.total(), waits(heard)) == (81, 16)
