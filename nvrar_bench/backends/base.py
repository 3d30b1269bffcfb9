"""The seam: what a backend gives to be measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from nvrar_bench.backends.nvrar.chooser import Chooser, Chosen
from nvrar_bench.devices.base import Array, Device
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.work import Work
from nvrar_bench.documents.tuning import MadeFor
from nvrar_bench.plan import Case
from nvrar_bench.toolchain.host import Source
from nvrar_bench.world import World

__all__ = ["Array", "Backend", "Operation", "Tunable"]


class Backend(ABC):
    """An all-reduce library on one device, for the ranks of one world."""

    name: ClassVar[str]
    wraps: ClassVar[bool] = False  # it promises that integer sums and products that overflow wrap
    doubts: tuple[str, ...] = ()  # what makes a tuning table doubtful that it follows

    def __init__(self, world: World, device: Device, timeout: float) -> None:
        self.world = world
        self.device = device
        self.timeout = timeout

    def unsupported(self, case: Case) -> str | None:  # noqa: ARG002 - for those that refuse
        """Why this backend cannot run `case`, or None; the same on every rank."""
        return None

    def kernels(self, cases: Iterable[Case]) -> Sequence[Source]:  # noqa: ARG002
        """What will be compiled for `cases`."""
        return ()

    def foresee(self, cases: Iterable[Case]) -> None:  # noqa: B027 - most have nothing to do
        """Get ready for `cases`, which are to come, where all at once is faster. Collective.

        Unavailable: what they need cannot be built.
        """

    @abstractmethod
    def prepare(self, case: Case, send: Array, recv: Array) -> Operation:
        """Prepare `case` on these buffers; recv is send in place. Collective.

        Their shape is (case.count,), or (seats, case.count) with virtual ranks. Unavailable: what
        it needs cannot be built.
        """

    def work(self, work: Work) -> Operation:
        """Prepare what stands between its all-reduces; the device's, timed by the same clock."""
        return self.device.work(work)

    def facts(self) -> dict[str, Any]:
        """What a reader of its figures needs to know, for the record."""
        return {}

    def close(self) -> None:  # noqa: B027 - most backends hold nothing
        """Free everything. Collective."""


class Tunable(Backend):
    """What `nvrar-bench tune` asks of a backend."""

    chooser: Chooser  # what it allows, and what it chooses for itself
    made_for: MadeFor  # what a table that is made here is good for; the same on all ranks

    @abstractmethod
    def prepare_as(self, chosen: Chosen, case: Case, send: Array, recv: Array) -> Operation:
        """As `prepare`, launched as `chosen`; memory that it takes is taken by all ranks alike.

        UsageError: the device cannot hold such a launch; other ranks may not know.
        """
