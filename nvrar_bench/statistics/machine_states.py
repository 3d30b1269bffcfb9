"""States of the machine: which samples of a run, or of two runs, were measured in one.

Samples are chosen by them only where `--one-state` asks for it. A state shows in the yardstick
(devices/cpu.py), in which no backend has a part: to choose samples by it cannot make a
backend look faster or slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from nvrar_bench.documents.result import Stretch
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.independence import Floats

Masks = npt.NDArray[np.bool_]
Readings = tuple[float, float, float]

# What a yardstick says, in this order: microseconds that a flag takes to the last rank, that all
# ranks take to copy what a peer has written, and to do fixed arithmetic at once.
YARDSTICKS = ("flag", "copy", "work")
# Within one state they stay this near to its centre, as parts of that; the states of a machine lie
# further apart (docs/method.md). Clocks have steps: what is nearer than STEP_US is near.
TOLERANCE = (0.25, 0.06, 0.05)
STEP_US = 0.012
# A launch that had less of its samples in a state was hardly there.
LEAST_PART, LEAST_SAMPLES = 0.15, 20
# A faster state may have so many launches less, of the most that any has.
LEAST_COVER = 0.6
_MOST_CENTRES = 256  # each is compared with all readings of all launches
_SHIFTS = 3  # steps from the edge of a state to its middle, at most


@dataclass(frozen=True, eq=False)
class Stretches:
    """The stretches of one launch: calls between two readings of the yardstick."""

    samples: npt.NDArray[np.int64]  # how many calls each has, shape (n,)
    readings_us: Floats  # what the yardstick said, shape (n, 3); NaN where that is unknown

    @classmethod
    def unknown(cls, samples: int) -> Stretches:
        """A launch of `samples` samples without a yardstick."""
        return cls(np.array([samples]), np.full((1, len(YARDSTICKS)), np.nan))

    def of_samples(self, chosen: Masks) -> Masks:
        """Return for each sample whether its stretch is `chosen`, shape (n,)."""
        return np.repeat(chosen, self.samples)


@dataclass(frozen=True, eq=False)
class Common:
    """One state of the machine, and where it was met."""

    chosen: tuple[tuple[Masks, ...], ...]  # of each side and launch: which stretches were in it
    centre_us: Floats | None = None  # what the yardstick says there, shape (3,); None: unknown
    apart: bool = False  # some side was in no state that the others had: all stretches are chosen


def stretches_of(launch_samples: Sequence[int], stretches: Sequence[Stretch]) -> list[Stretches]:
    """Return the stretches of each launch of a result; UsageError where they do not fit it."""
    if not stretches:
        return [Stretches.unknown(count) for count in launch_samples]
    readings = np.array([[s.flag_us, s.copy_us, s.work_us] for s in stretches], np.float64)
    try:
        return cut_launches([s.samples for s in stretches], readings, launch_samples)
    except ValueError as error:
        raise UsageError(f"stretches: {error}; allowed: parts of the launches") from error


def chosen_of(launches: Sequence[Stretches], one_state: bool) -> tuple[Sequence[Masks], bool]:
    """Choose stretches of a run: all, or those of one state; and whether none lasted for long."""
    if not one_state:
        return everything(launches)[0], False
    common = common_state(launches)
    return common.chosen[0], common.apart


def chosen_of_both(
    base: Sequence[Stretches], new: Sequence[Stretches]
) -> tuple[tuple[Masks, Masks], bool]:
    """Choose samples of two runs in a state that both were in, and say whether there is none.

    All count where a run was in no state for long, as in the table of that run.
    """
    found = common_state(base, new)
    restless = any(common_state(one).apart for one in (base, new))
    masks = samples_of(base, found.chosen[0]), samples_of(new, found.chosen[1])
    return masks, found.apart and not restless


def reading_of(
    launches: Sequence[Stretches], chosen: Sequence[Masks] | None = None
) -> Readings | None:
    """Return the medians of the yardstick over stretches, by default all; None where unknown."""
    masks = everything(launches)[0] if chosen is None else chosen
    parts = [s.readings_us[mask] for s, mask in zip(launches, masks, strict=True)]
    readings = np.concatenate(parts) if parts else np.zeros((0, len(YARDSTICKS)))
    if not len(readings) or np.isnan(readings).any():
        return None
    flag, copy, work = np.median(readings, axis=0).tolist()
    return flag, copy, work


def are_apart(base: Readings | None, new: Readings | None) -> bool:
    """Say whether two readings, both known, are of different states."""
    if base is None or new is None:
        return False
    one, other = np.array(base), np.array(new)
    return not (is_near(one, other) or is_near(other, one))


def common_state(*sides: Sequence[Stretches]) -> Common:
    """Choose the fastest state in which all `sides`, each a list of launches, were long enough.

    A launch was in a state with LEAST_PART of its samples, and LEAST_SAMPLES or half. What counts
    is the side that has fewest launches in it: the state is the fastest of those with at least
    LEAST_COVER of the largest such number. All stretches are chosen if one has no yardstick.
    """
    launches = [launch for side in sides for launch in side]
    readings = np.concatenate([launch.readings_us for launch in launches] or [np.zeros((0, 3))])
    if not (len(readings) and all(sides)) or np.isnan(readings).any():
        return Common(everything(*sides))
    centres = _fastest_first(readings)
    covers = _covers(sides, centres)
    if not covers.any():
        return Common(everything(*sides), apart=True)
    enough = ceil(LEAST_COVER * covers.max())
    centre = centres[np.argmax(covers >= enough)]
    for _ in range(_SHIFTS):
        middle = np.median(readings[is_near(readings, centre)], axis=0)
        if _covers(sides, middle[None, :])[0] < enough:
            break
        centre = middle
    return Common(tuple(tuple(_chosen(s, centre) for s in side) for side in sides), centre)


def samples_of(launches: Sequence[Stretches], chosen: Sequence[Masks]) -> Masks:
    """Say of each sample of `launches`, shape (n,), whether its stretch is `chosen`."""
    parts = [one.of_samples(mask) for one, mask in zip(launches, chosen, strict=True)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def everything(*sides: Sequence[Stretches]) -> tuple[tuple[Masks, ...], ...]:
    """Choose all stretches."""
    return tuple(tuple(np.ones(len(s.samples), bool) for s in side) for side in sides)


def is_near(readings_us: Floats, centres_us: Floats) -> Masks:
    """Say of readings, shape (..., 3), whether they are of the state around `centres_us`."""
    reach = np.maximum(STEP_US, np.array(TOLERANCE) * centres_us)
    near: Masks = np.all(np.abs(readings_us - centres_us) <= reach, axis=-1)
    return near


def cut_launches(
    samples: Sequence[int], readings_us: Floats, launches: Sequence[int]
) -> list[Stretches]:
    """Cut stretches into launches of so many samples each.

    ValueError: a launch does not end where a stretch does.
    """
    counts, found, first = np.asarray(samples, np.int64), list[Stretches](), 0
    ends = np.cumsum(counts)
    for end in np.cumsum(launches):
        after = int(np.searchsorted(ends, end, side="right"))
        if (ends[after - 1] if after else 0) != end:
            raise ValueError(f"no stretch ends at sample {end}")
        found.append(Stretches(counts[first:after], readings_us[first:after]))
        first = after
    if first != len(counts):
        raise ValueError(f"stretches have {ends[-1]} samples, launches {sum(launches)}")
    return found


def _fastest_first(readings: Floats) -> Floats:
    """Order readings; of very many take every k-th."""
    ordered = readings[np.argsort(np.log(np.maximum(readings, 1e-9)).sum(axis=1), kind="stable")]
    return ordered[:: -(-len(ordered) // _MOST_CENTRES)]


def _covers(sides: Sequence[Sequence[Stretches]], centres: Floats) -> npt.NDArray[np.int64]:
    """For each centre, how many launches of the side that has fewest were there."""
    counts = [np.sum([_was_there(launch, centres) for launch in side], axis=0) for side in sides]
    covers: npt.NDArray[np.int64] = np.min(counts, axis=0)
    return covers


def _was_there(launch: Stretches, centres: Floats) -> Masks:
    total = int(launch.samples.sum())
    near = is_near(launch.readings_us[None, :, :], centres[:, None, :])
    enough = max(LEAST_PART * total, min(LEAST_SAMPLES, total / 2), 1)
    there: Masks = near @ launch.samples >= enough
    return there


def _chosen(launch: Stretches, centre: Floats) -> Masks:
    near = is_near(launch.readings_us, centre)
    return near if _was_there(launch, centre[None, :])[0] else np.zeros(len(near), bool)
