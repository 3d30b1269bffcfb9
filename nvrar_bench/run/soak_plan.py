"""What a soak may draw, and when it ends; known before MPI is there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.plan import AXES, Plan

# Elements: of the one type that also gets messages of several windows, and of the others.
_LONGEST = {"float32": 400_000}
_OTHERS = 16_384


@dataclass(frozen=True)
class SoakLimit:
    """When a soak ends: after so many calls, or seconds."""

    calls: float = math.inf
    seconds: float = math.inf


def longest_counts() -> dict[str, int]:
    """Elements of the longest message of each dtype."""
    return {name: _LONGEST.get(name, _OTHERS) for name in DTYPES}


def soak_plan() -> Plan:
    """What a soak needs at most: for the memory that is set aside."""
    return Plan.build(
        counts=(longest_counts()["float32"],),
        buffers=AXES["buffers"].allowed,
        protocols=("signal", "packet"),
    )
