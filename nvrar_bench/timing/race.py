"""A race of candidates: which of several ways to do the same is fastest, found with few samples.

All take turns in rounds. After each round those drop out that are certainly slower than the one
that looks fastest: the 95 % intervals of their medians lie apart. The race ends when one is left,
when those left are known so well that it does not matter, or when calls or time are spent. What is
fastest by then may owe it to chance, the more so the more there were. So it then runs a match of
its own against the one that was there before, and only samples of the match count: it wins if its
interval lies below the other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nvrar_bench.statistics.independence import Floats
from nvrar_bench.statistics.median import Estimate, estimate
from nvrar_bench.timing.stopping import StoppingRule, Taken, precision_of

TURN = 20  # calls; as many as a turn of `PrecisionRule`, which they follow
_GROWTH = 4
MOST_CALLS = 1000  # of one candidate, before the match
MATCH_CALLS = 200  # of either side
ALIKE = 0.01  # medians known to this part of them: which is the fastest does not matter


@dataclass(frozen=True, eq=False)
class SoFar:
    """What a candidate has shown, the same on all ranks."""

    samples: Floats  # seconds, shape (n,), in order
    in_time: npt.NDArray[np.bool_]  # which no rank began late

    def after(self, calls: int) -> SoFar:
        """What came behind the first `calls` samples."""
        return SoFar(self.samples[calls:], self.in_time[calls:])

    @property
    def counting(self) -> Floats:
        """The samples in time; late ones where there are no others."""
        return self.samples[self.in_time] if self.in_time.any() else self.samples

    @property
    def figure(self) -> Estimate:
        """The median of what counts, with its interval, in seconds."""
        return estimate(self.counting)


@dataclass(frozen=True)
class Outcome:
    """What came of a race; figures are those of the match."""

    winner: int  # the candidate to keep
    fastest: int  # the one that looked fastest before the match
    winner_figure: Estimate
    before_figure: Estimate | None  # of the one that was there before; None: there was none
    level: int  # candidates, the fastest included, that were in the race at its end
    reason: str  # what ended it


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
        """The candidates that are still in the race."""
        return tuple(self._open)

    def rule(self, number: int) -> StoppingRule:
        """Make the rule that says how many calls candidate `number` makes next."""
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

    def judge(self, shown: Sequence[SoFar]) -> None:
        """Drop the certainly slower, after a round; `shown` is by number, of all candidates."""
        if self._begun:
            return
        self.rounds += 1
        self._fastest = fastest([shown[number] for number in self._open], self._open)
        pivot = shown[self._fastest].figure
        self._open = [
            number
            for number in self._open
            if number == self._fastest or not pivot.is_below(shown[number].figure)
        ]
        self._reason = self._ended_by([shown[number] for number in self._open])
        if self._reason:
            pair = {self._fastest, self._fastest if self.before is None else self.before}
            self._begun = {number: len(shown[number].samples) for number in pair}

    def outcome(self, shown: Sequence[SoFar]) -> Outcome:
        """Say who has won, by the samples of the match."""
        matched = {number: shown[number].after(begun) for number, begun in self._begun.items()}
        new = self._fastest
        old = new if self.before is None else self.before
        new_figure, old_figure = matched[new].figure, matched[old].figure
        is_new = self.before is None or new_figure.is_below(old_figure)
        return Outcome(
            winner=new if is_new else old,
            fastest=new,
            winner_figure=new_figure if is_new else old_figure,
            before_figure=None if self.before is None else old_figure,
            level=len(self._open),
            reason=self._reason,
        )

    def _ended_by(self, shown: Sequence[SoFar]) -> str:
        if len(shown) == 1:
            return "winner"
        precisions = [precision_of(one.counting) for one in shown]
        if all(reached is not None and reached <= ALIKE for reached in precisions):
            return "alike"
        if max(len(one.samples) for one in shown) >= MOST_CALLS:
            return "max_samples"
        return "max_time" if self._elapsed() >= self._seconds else ""


class _Entrant(StoppingRule):
    def __init__(self, race: Race, number: int) -> None:
        self._race, self._number = race, number

    def next_turn(self, taken: Taken) -> int:
        calls = self._race.next_turn(self._number, taken)
        if not calls:
            self.reason = self._race.reason_of(self._number)
        return calls


def fastest(shown: Sequence[SoFar], numbers: Sequence[int]) -> int:
    """Return the number of the lowest median; of equal ones the first."""
    medians = [float(np.median(one.counting)) for one in shown]
    return numbers[int(np.argmin(medians))]
