"""A race of candidates: which of several ways to do the same is fastest, found with few samples.

All take turns in rounds. After each round those drop out that are certainly slower than the one
that looks fastest: the 95 % intervals of their medians lie apart, in one state of the machine. The
race ends when one is left, when those left are known so well that it does not matter, or when calls
or time are spent. What is fastest by then may owe it to chance, the more so the more there were. So
it then runs a match of its own against the one that was there before, and only samples of the match
count: it wins if its interval lies below the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nvrar_bench.statistics.independence import Floats, effective_samples
from nvrar_bench.statistics.launches import Interval
from nvrar_bench.statistics.median import median_interval
from nvrar_bench.statistics.states import Masks, Stretches, common_state
from nvrar_bench.timing.rules.base import StoppingRule, Taken
from nvrar_bench.timing.rules.precision import precision_of

TURN = 20  # calls; as many as a turn of `Precision`, which they follow
_GROWTH = 4
MOST_CALLS = 1000  # of one candidate, before the match
MATCH_CALLS = 200  # of either side
ALIKE = 0.01  # medians known to this part of them: which is the fastest does not matter


@dataclass(frozen=True, eq=False)
class Shown:
    """What a candidate has shown, the same on all ranks.

    `samples` are seconds, shape (n,), in order; `in_time` says which no rank began late;
    `stretches` says in which state the machine was.
    """

    samples: Floats
    in_time: Masks
    stretches: Stretches

    def after(self, calls: int) -> Shown:
        """What came behind the first `calls` samples, which end with a stretch."""
        first = int(np.searchsorted(np.cumsum(self.stretches.samples), calls, side="right"))
        stretches = Stretches(self.stretches.samples[first:], self.stretches.readings_us[first:])
        return Shown(self.samples[calls:], self.in_time[calls:], stretches)


@dataclass(frozen=True)
class Figure:
    """A median with its 95 % interval, seconds; None where there are too few samples for one."""

    median: float
    interval: Interval | None

    @classmethod
    def of(cls, samples: Floats) -> Figure:
        """Summarise samples, shape (n,), n >= 1, in their order."""
        effective = effective_samples(samples)
        return cls(float(np.median(samples)), median_interval(np.sort(samples), 0.95, effective))

    def is_below(self, other: Figure) -> bool:
        """Say whether the intervals leave no doubt."""
        if self.interval is None or other.interval is None:
            return False
        return self.interval[1] < other.interval[0]


@dataclass(frozen=True)
class Outcome:
    """What came of a race.

    `winner` is the candidate to keep; `fastest` the one that looked fastest before the match.
    `figures` are those of the match, of the winner and of the one that was there before, None where
    there was none. `level` counts the candidates, the fastest included, that were still in the race
    at its end; `reason` says what ended it.
    """

    winner: int
    fastest: int
    winner_figure: Figure
    before_figure: Figure | None
    level: int
    reason: str


class Race:
    """Of `count` candidates, by number; `before` is the one that was there before, if it can run.

    `elapsed` says how many seconds have gone by, the same on all ranks; no round begins after
    `seconds` of them but those of the match.
    """

    def __init__(
        self, count: int, before: int | None, seconds: float, elapsed: Callable[[], float]
    ) -> None:
        self._open = list(range(count))
        self.before, self._seconds, self._elapsed = before, seconds, elapsed
        self._reason = ""
        self._fastest = 0
        self._begun: dict[int, int] = {}  # of those in the match: calls before it
        self.rounds = 0

    @property
    def open(self) -> tuple[int, ...]:
        """Who is still in the race."""
        return tuple(self._open)

    def rule(self, number: int) -> StoppingRule:
        """Make what tells candidate `number` how many calls to make next."""
        return _Entrant(self, number)

    def next_turn(self, number: int, taken: Taken) -> int:
        """Return how many calls candidate `number` makes in this round; 0: it has ended."""
        if self._begun:
            begun = self._begun.get(number)
            return 0 if begun is None else min(TURN, begun + MATCH_CALLS - taken.calls)
        if number in self._open:
            return max(TURN, taken.calls // _GROWTH)
        return TURN if number == self.before else 0  # that one waits for the match

    def reason_of(self, number: int) -> str:
        """Say what ended candidate `number`: it was `slower`, or what ended the race."""
        return self._reason if number in self._open else "slower"

    def judge(self, shown: Sequence[Shown]) -> None:
        """Drop who is certainly slower, after a round; `shown` is by number, of all candidates."""
        if self._begun:
            return
        self.rounds += 1
        self._fastest = fastest([shown[number] for number in self._open], self._open)
        pivot = shown[self._fastest]
        self._open = [
            number for number in self._open
            if number == self._fastest or not is_slower(shown[number], pivot)
        ]  # fmt: skip
        self._reason = self._ended_by([shown[number] for number in self._open])
        if self._reason:
            pair = {self._fastest, self._fastest if self.before is None else self.before}
            self._begun = {number: len(shown[number].samples) for number in pair}

    def outcome(self, shown: Sequence[Shown]) -> Outcome:
        """Say who has won, by the samples of the match."""
        matched = {number: shown[number].after(begun) for number, begun in self._begun.items()}
        new = self._fastest
        old = new if self.before is None else self.before
        new_figure, old_figure, alike = _figures(matched[new], matched[old])
        is_new = self.before is None or (alike and new_figure.is_below(old_figure))
        return Outcome(
            winner=new if is_new else old,
            fastest=new,
            winner_figure=new_figure if is_new else old_figure,
            before_figure=None if self.before is None else old_figure,
            level=len(self._open),
            reason=self._reason,
        )

    def _ended_by(self, shown: Sequence[Shown]) -> str:
        if len(shown) == 1:
            return "winner"
        precisions = [precision_of(counting(one)) for one in shown]
        if all(reached is not None and reached <= ALIKE for reached in precisions):
            return "alike"
        if max(len(one.samples) for one in shown) >= MOST_CALLS:
            return "max_samples"
        return "max_time" if self._elapsed() >= self._seconds else ""


class _Entrant(StoppingRule):
    def __init__(self, race: Race, number: int) -> None:
        self._race, self._number = race, number

    def next_turn(self, taken: Taken) -> int:
        return self._race.next_turn(self._number, taken)

    def reason(self) -> str:
        return self._race.reason_of(self._number)

    def target(self) -> float | None:
        return None


def fastest(shown: Sequence[Shown], numbers: Sequence[int]) -> int:
    """Return the number of the lowest median, in a state of the machine that all were in.

    All samples count where there is none. Of equal ones the first.
    """
    medians = [float(np.median(samples)) for samples in _in_common_state(shown)[0]]
    return numbers[int(np.argmin(medians))]


def is_slower(one: Shown, other: Shown) -> bool:
    """Say whether `one` is slower beyond doubt: in a state of the machine that both were in."""
    figure, other_figure, alike = _figures(one, other)
    return alike and other_figure.is_below(figure)


def counting(shown: Shown) -> Floats:
    """Return the samples in time, of the one state that the candidate was in for long."""
    return _in_common_state([shown])[0][0]


def _figures(one: Shown, other: Shown) -> tuple[Figure, Figure, bool]:
    """Return both figures, and whether they are of one state of the machine."""
    (mine, others), alike = _in_common_state([one, other])
    return Figure.of(mine), Figure.of(others), alike


def _in_common_state(shown: Sequence[Shown]) -> tuple[list[Floats], bool]:
    """Return the samples of each that count, and False where they are of different states.

    Samples that a rank began late count where there are no others.
    """
    common = common_state(*([one.stretches] for one in shown))
    found = []
    for one, (chosen,) in zip(shown, common.chosen, strict=True):
        in_state = one.stretches.of_samples(chosen)
        masks = (in_state & one.in_time, in_state, np.ones(len(in_state), bool))
        found.append(one.samples[next(mask for mask in masks if mask.any())])
    return found, not common.apart
