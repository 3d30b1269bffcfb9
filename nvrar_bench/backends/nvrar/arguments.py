"""struct Layout and struct Arguments of kernels/arguments.cuh, field by field in their order."""

from __future__ import annotations

import ctypes
from dataclasses import fields

from nvrar_bench.backends.nvrar.layout import Layout
from nvrar_bench.backends.nvrar.schedule import Schedule
from nvrar_bench.devices.abi import POINTER, U64, CFailure

MAX_STEPS = 16
MAX_VIRTUAL_RANKS = 16
PHASES = {1: "reduce-scatter", 2: "exchange between nodes", 3: "all-gather"}


class CLayout(ctypes.Structure):
    """struct Layout."""

    _fields_ = [(field.name, U64) for field in fields(Layout) if field.name != "nbytes"]

    @classmethod
    def of(cls, layout: Layout) -> CLayout:
        """Copy `layout`, whose fields have the same names."""
        return cls(*(getattr(layout, name) for name, *_ in cls._fields_))


class CArguments(ctypes.Structure):
    """struct Arguments."""

    _fields_ = [
        ("send", POINTER),
        ("recv", POINTER),
        ("count", U64),
        ("epochs", POINTER),
        ("epoch_slots", U64),
        ("epochs_taken", U64),
        ("blocks", U64),
        ("rank", U64),
        ("ranks_per_node", U64),
        ("nodes", U64),
        ("core_nodes", U64),
        ("steps", U64),
        ("radix", U64 * MAX_STEPS),
        ("staged", U64),
        ("window_bytes", U64),
        ("chunk_bytes", U64),
        ("spin", U64),
        ("timeout_ns", U64),
        ("layout", CLayout),
        ("node_send", POINTER),
        ("node_recv", POINTER),
        ("rank_staging", POINTER),
        ("failure", POINTER),
    ]

    def set_schedule(self, schedule: Schedule) -> None:
        """Fill in the steps between nodes."""
        self.nodes = schedule.nodes
        self.core_nodes = schedule.core_nodes
        self.steps = len(schedule.radices)
        self.radix = (U64 * MAX_STEPS)(*schedule.radices)


class CVirtualRanks(ctypes.Structure):
    """struct VirtualRanks of kernels/fabric/loopback.cuh."""

    _fields_ = [("rank", CArguments * MAX_VIRTUAL_RANKS)]


def describe(failure: CFailure) -> str:
    """Say where a wait stood, what it expected and what it saw."""
    phase = PHASES.get(failure.phase, str(failure.phase))
    return (
        f"phase {phase}, step {failure.step}, waiting for rank {failure.peer}, "
        f"chunk {failure.chunk}, expected flag {failure.expected}, saw {failure.seen}"
    )
