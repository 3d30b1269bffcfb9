"""The seam for tuning: a backend whose calls can be launched in several shapes."""

from __future__ import annotations

from abc import abstractmethod

from nvrar_bench.backends.base import Array, Backend, Operation
from nvrar_bench.backends.nvrar.chooser import Chooser, Chosen
from nvrar_bench.backends.nvrar.table import MadeFor
from nvrar_bench.plan import Case


class Tunable(Backend):
    """What `nvrar-bench tune` asks of a backend.

    Attributes:
        chooser: what it allows, and what it chooses for itself.
        made_for: what a table that is made here is good for; the same on all ranks.
    """

    chooser: Chooser
    made_for: MadeFor

    @abstractmethod
    def prepare_as(self, chosen: Chosen, case: Case, send: Array, recv: Array) -> Operation:
        """As `prepare`, launched as `chosen`; memory that it takes is taken by all ranks alike.

        Raises:
            UsageError: the device cannot hold such a launch; other ranks may not know.
        """
