"""A sweep as data: sizes x dtypes x ops x placements x ... -> immutable cases.

A plan knows no rank, no node and no backend; the same plan runs on any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from nvrar_bench import datatypes

Placement = Literal["out_of_place", "in_place"]
Buffers = Literal["symmetric", "private"]
Protocol = Literal["auto", "signal", "packet"]
CheckMode = Literal["exact", "rounding", "wrap"]


@dataclass(frozen=True)
class CaseAxis:
    """One choice of a sweep: the name of its option or key, and the values that it may take."""

    key: str
    allowed: tuple[str, ...]
    default: str
    takes_all: bool = False


AXES = {
    axis.key: axis
    for axis in (
        CaseAxis("dtype", tuple(datatypes.DTYPES), "float32", takes_all=True),
        CaseAxis("op", tuple(datatypes.OPS), "sum", takes_all=True),
        CaseAxis("placement", ("out_of_place", "in_place"), "out_of_place"),
        CaseAxis("buffers", ("symmetric", "private"), "symmetric"),
        CaseAxis("protocol", ("auto", "signal", "packet"), "auto"),
        CaseAxis("check", ("exact", "rounding", "wrap"), "exact"),
    )
}


@dataclass(frozen=True)
class Case:
    """One all-reduce to measure: `count` elements of `dtype` per rank, combined by `op`."""

    size_bytes: int
    count: int
    dtype: str
    op: str
    placement: Placement
    buffers: Buffers
    protocol: Protocol
    check_mode: CheckMode


@dataclass(frozen=True)
class Plan:
    """The cases of a sweep, in the order in which they run. The size is what changes fastest."""

    cases: tuple[Case, ...]

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def checked_by(self, modes: Sequence[str]) -> Plan:
        """Return the same cases with these check modes, where they have a meaning."""
        cases = (
            replace(case, check_mode=cast(CheckMode, mode))
            for case in self.cases
            for mode in modes
            if has_meaning(case.dtype, case.op, mode)
        )
        return Plan(tuple(dict.fromkeys(cases)))


def has_meaning(dtype: str, op: str, *rest: str) -> bool:
    """Say whether the check mode, which comes last, has one here."""
    return rest[-1] != "wrap" or datatypes.can_wrap(dtype, op)
