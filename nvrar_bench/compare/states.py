"""Which launches of two results were measured in the same state of the machine.

A state shows in the yardstick, in which no backend has a part: to choose launches by it cannot make
a backend look faster or slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# The yardstick's own steps and noise stay below this; the states of a machine lie further apart.
OTHER_STATE = 1.5

Yardsticks = Sequence[float | None]
Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Common:
    """Numbers of the launches of two results, from 0, that can be compared.

    Where no two of them were in one state they are `apart`, and all launches are listed.
    """

    base: Numbers
    new: Numbers
    apart: bool = False


def common_launches(base: Yardsticks, new: Yardsticks) -> Common:
    """Choose the state that most launches of both results share; one number or None per launch.

    It is the one of which the rarer side has most launches, then of which both have most, then the
    fastest. Without a yardstick for every launch nothing is known of states, and all are chosen.
    """
    everything = Common(tuple(range(len(base))), tuple(range(len(new))))
    known = [us for us in (*base, *new) if us]
    if not (base and new) or len(known) < len(base) + len(new):
        return everything
    found = [Common(_within(base, low), _within(new, low)) for low in sorted(set(known))]
    best = max(found, key=lambda one: (min(_sizes(one)), sum(_sizes(one))))  # the first of equals
    return best if min(_sizes(best)) else Common(everything.base, everything.new, apart=True)


def _within(yardsticks: Yardsticks, low: float) -> Numbers:
    """Number the launches whose yardstick lies between `low` and OTHER_STATE times that."""
    return tuple(i for i, us in enumerate(yardsticks) if us and low <= us <= OTHER_STATE * low)


def _sizes(one: Common) -> tuple[int, int]:
    return len(one.base), len(one.new)
