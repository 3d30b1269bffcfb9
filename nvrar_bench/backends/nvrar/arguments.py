"""struct Layout and struct Arguments of kernels/arguments.cuh, field by field in their order."""

from __future__ import annotations

import ctypes
from dataclasses import fields

from nvrar_bench.backends.nvrar.layout import Layout, Schedule
from nvrar_bench.devices.abi import POINTER, U64, CFailure

MAX_STEPS = 16
MAX_VIRTUAL_RANKS = 16
SLICE_ALIGNMENT = 16  # bytes: no element is split, and vectors are whole
PHASES = {1: "reduce-scatter", 2: "exchange between nodes", 3: "all-gather"}


class CLayout(ctypes.Structure):
    """struct Layout."""

    _fields_ = [(field.name, U64) for field in fields(Layout) if field.name != "nbytes"]

    @classmethod
    def of(cls, layout: Layout) -> CLayout:
        """Copy `layout`, whose fields have the same names."""
        return cls(*(getattr(layout, name) for name, *_ in cls._fields_))


class CStep(ctypes.Structure):
    """struct Step."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("radix", "stride", "digit", "first_slot")]


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
        ("node", U64),
        ("local", U64),
        ("ranks_per_node", U64),
        ("nodes", U64),
        ("core_nodes", U64),
        ("steps", U64),
        ("slots", U64),
        ("step", CStep * MAX_STEPS),
        ("staged", U64),
        ("windows", U64),
        ("window_bytes", U64),
        ("slice_bytes", U64),
        ("last_slice_bytes", U64),
        ("full_slices", U64),
        ("last_full_slices", U64),
        ("chunk_bytes", U64),
        ("spin", U64),
        ("timeout_ns", U64),
        ("layout", CLayout),
        ("staging", POINTER),
        ("node_send", POINTER),
        ("node_recv", POINTER),
        ("rank_staging", POINTER),
        ("failure", POINTER),
        ("transport", POINTER),
    ]

    def set_rank(self, rank: int, ranks_per_node: int, schedule: Schedule) -> None:
        """Fill in where `rank` stands, and its node's part in the steps between nodes."""
        self.rank, self.ranks_per_node = rank, ranks_per_node
        self.node, self.local = divmod(rank, ranks_per_node)
        self.nodes, self.core_nodes = schedule.nodes, schedule.core_nodes
        self.steps, self.slots = len(schedule.radices), schedule.slots
        stride, slots = 1, 0
        for step, radix in zip(self.step, schedule.radices, strict=False):
            step.radix, step.stride, step.first_slot = radix, stride, slots
            step.digit = self.node // stride % radix
            stride, slots = stride * radix, slots + radix - 1

    def set_windows(self, nbytes: int, window_bytes: int) -> None:
        """Cut a message of `nbytes` > 0 into windows, and each into slices, one per local rank."""
        self.windows = -(-nbytes // window_bytes)
        self.window_bytes = window_bytes
        last_bytes = nbytes - (self.windows - 1) * window_bytes
        self.slice_bytes = self._slice_of(window_bytes)
        self.last_slice_bytes = self._slice_of(last_bytes)
        self.full_slices = window_bytes // self.slice_bytes
        self.last_full_slices = last_bytes // self.last_slice_bytes

    def _slice_of(self, window_bytes: int) -> int:
        share = -(-window_bytes // self.ranks_per_node)
        return -(-share // SLICE_ALIGNMENT) * SLICE_ALIGNMENT


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
