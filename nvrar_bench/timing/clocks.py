"""The monotonic clocks of all ranks, related to rank 0's.

The offset of two clocks is measured by ping-pong: the answer was read somewhere within the round
trip, so the middle of the shortest trip is wrong by at most half of it (F. Cristian, "Probabilistic
clock synchronization", Distributed Computing 3, 1989; SKaMPI does so too). Ranks of one machine
share a clock, unless a time namespace moves it; that is verified, and their offset is then 0.

Between machines the first ranks of each form a tree, as in HCA3: in round k those that know rank
0's time pass it on to as many. So p machines take log2(p) rounds of ping-pongs; errors add up along
the way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nvrar_bench.timing.loop import MONOTONIC

# What Linux lets NTP slew a clock by, beyond which no two monotonic clocks drift apart.
MAX_DRIFT = 500e-6
MOMENTS = 8  # that a line is fitted through
SPACING_NS = 500_000_000  # between two of them, at least
ROUNDS = 20  # ping-pongs of two ranks, of which the shortest counts
SPACING_S = 0.04  # between the two moments from which the drift is known
_TAG = 7  # of all messages here


@dataclass(frozen=True)
class Moment:
    """At `own_ns` of one clock another shows `own_ns + offset_ns`, to within `error_ns`."""

    own_ns: int
    offset_ns: int
    error_ns: float


@dataclass(frozen=True)
class ClockLine:
    """The least-squares line through the offsets of `moments`, as HCA3 fits it.

    S. Hunold, A. Carpen-Amarie, "Hierarchical Clock Synchronization in MPI", IEEE Cluster 2018.
    Without moments the two clocks are one. With one, no drift is known, and up to `MAX_DRIFT` is
    taken for possible.
    """

    moments: tuple[Moment, ...] = ()

    def with_moment(self, moment: Moment) -> ClockLine:
        """This line and one more moment, of which at most `MOMENTS` are kept.

        It takes the place of the last one where that is less than `SPACING_NS` behind its
        predecessor, so that frequent renewals do not shorten what the drift is fitted over.
        """
        kept = self.moments
        if len(kept) > 1 and kept[-1].own_ns - kept[-2].own_ns < SPACING_NS:
            kept = kept[:-1]
        return ClockLine((*kept, moment)[-MOMENTS:])

    @property
    def drift(self) -> float:
        """Seconds that the other clock gains per second."""
        return self._fit[1]

    def to_other(self, own_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What the other clock shows at `own_ns`."""
        if not self.moments:
            return own_ns
        at_last, drift, _ = self._fit
        last = self.moments[-1]
        beyond = at_last + drift * (own_ns - last.own_ns)
        shown: npt.NDArray[np.int64] = own_ns + last.offset_ns + np.rint(beyond).astype(np.int64)
        return shown

    def to_own(self, other_ns: int) -> int:
        """What this clock shows when the other shows `other_ns`."""
        if not self.moments:
            return other_ns
        at_last, drift, _ = self._fit
        last = self.moments[-1]
        since = other_ns - last.own_ns - last.offset_ns
        return last.own_ns + round((since - at_last) / (1 + drift))

    def error_ns(self, own_ns: int) -> float:
        """A bound on the error at `own_ns`, for clocks whose drift is constant.

        The line's offset is a sum over c[i] offset[i], so that errors below e[i] of the offsets
        make one below the sum over |c[i]| e[i]. The largest residual comes on top.
        """
        if not self.moments:
            return 0.0
        x, errors = self._abscissas(), np.array([m.error_ns for m in self.moments])
        at = float(own_ns - self.moments[-1].own_ns)
        if len(x) == 1:
            return float(errors[0]) + MAX_DRIFT * abs(at)
        weights = 1 / len(x) + (at - x.mean()) * _slope_weights(x)
        return float(np.abs(weights) @ errors) + self._fit[2]

    def _abscissas(self) -> npt.NDArray[np.float64]:
        # From the last moment on: differences keep the digits that a float has not for a clock.
        last = self.moments[-1].own_ns
        return np.array([float(m.own_ns - last) for m in self.moments])

    @cached_property
    def _fit(self) -> tuple[float, float, float]:
        """Offset at the last moment beyond the measured one, drift, largest residual."""
        if len(self.moments) < 2:
            return 0.0, 0.0, 0.0
        x = self._abscissas()
        last = self.moments[-1].offset_ns
        y = np.array([float(m.offset_ns - last) for m in self.moments])
        drift = float(_slope_weights(x) @ y)
        at_last = float(y.mean() - drift * x.mean())
        return at_last, drift, float(np.abs(y - at_last - drift * x).max())


def _slope_weights(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What each ordinate adds to the slope of the least-squares line."""
    centred = x - x.mean()
    weights: npt.NDArray[np.float64] = centred / (centred @ centred)
    return weights


class Clocks:
    """This rank's clock, in ns, and rank 0's. `common` time is what rank 0's clock shows."""

    def __init__(
        self, comm: Any, machine_of: Sequence[int], clock: Callable[[], int], rounds: int
    ) -> None:
        self._comm, self._rounds, self.clock = comm, rounds, clock
        mine = machine_of[comm.rank]
        self._neighbours = [rank for rank in range(comm.size) if machine_of[rank] == mine]
        self._leaders = sorted(list(machine_of).index(machine) for machine in set(machine_of))
        self._line = ClockLine()  # the clock of this machine's first rank, and rank 0's
        self._local = Moment(0, 0, 0.0)  # this rank's clock, and that of its machine's first rank
        self._compare_within_the_machine()

    @property
    def shared(self) -> bool:
        """This rank has the clock of the first rank of its machine."""
        return self._local.offset_ns == 0

    @property
    def error_ns(self) -> float:
        """A bound on the error of a conversion made now."""
        return self.error_at(self.clock())

    def error_at(self, own_ns: int) -> float:
        """As `error_ns`, at `own_ns`; it grows with the time since the last renewal."""
        return self._local.error_ns + self._line.error_ns(own_ns + self._local.offset_ns)

    def to_own(self, rank0_ns: int) -> int:
        """What this rank's clock shows when rank 0's shows `rank0_ns`."""
        return self._line.to_own(rank0_ns) - self._local.offset_ns

    def to_common(self, own_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What rank 0's clock shows when this rank's shows `own_ns`, any shape."""
        return self._line.to_other(own_ns + self._local.offset_ns)

    def renew(self) -> None:
        """Measure the offsets between machines once more; nothing to do on one. Collective.

        Takes log2(machines) times some ten round trips.
        """
        if len(self._leaders) == 1:
            return
        if self._comm.rank in self._leaders:
            self._compare_with_rank0()
        self._line = self._told_by_leader(self._line)

    def facts(self) -> dict[str, Any]:
        """For each rank, against rank 0: offset, drift and a bound on the error now. Collective."""
        now = self.clock()
        offset = int(self.to_common(np.array([now]))[0]) - now
        own = (offset / 1e3, self._line.drift * 1e6, self.error_at(now) / 1e3, self.shared)
        everyone = self._comm.allgather(own)
        offsets, drifts, errors, are_shared = zip(*everyone, strict=True)
        return {
            "method": self._method(all(are_shared)),
            "offset_us": list(offsets),
            "drift_ppm": list(drifts),
            "error_us": list(errors),
        }

    def _method(self, is_shared: bool) -> str:
        within = "shared clock, verified" if is_shared else "own clocks within a machine"
        if len(self._leaders) == 1:
            return within
        return (
            f"{within}; between machines the shortest of {self._rounds} round trips at each of "
            "several moments, and a line through those"
        )

    def _compare_within_the_machine(self) -> None:
        """An offset within its own error is none: the clock of a machine is one."""

        def tell(peer: int) -> None:
            self._comm.send(self._local, dest=peer, tag=_TAG)
            self._answer(peer)

        def learn(peer: int) -> None:
            theirs: Moment = self._comm.recv(source=peer, tag=_TAG)
            seen, shown = self._ask(peer)
            offset = shown + theirs.offset_ns - seen.own_ns
            error = seen.error_ns + theirs.error_ns
            self._local = Moment(0, offset, error) if abs(offset) > error else Moment(0, 0, 0.0)

        _along_a_tree(self._neighbours, self._comm.rank, tell, learn)

    def _compare_with_rank0(self) -> None:
        def tell(peer: int) -> None:
            self._comm.send(self._line, dest=peer, tag=_TAG)
            self._answer(peer)

        def learn(peer: int) -> None:
            theirs: ClockLine = self._comm.recv(source=peer, tag=_TAG)
            seen, shown = self._ask(peer)
            offset = int(theirs.to_other(np.array([shown]))[0]) - seen.own_ns
            error = seen.error_ns + theirs.error_ns(shown)
            self._line = self._line.with_moment(Moment(seen.own_ns, offset, error))

        _along_a_tree(self._leaders, self._comm.rank, tell, learn)

    def _told_by_leader(self, line: ClockLine) -> ClockLine:
        leader = self._neighbours[0]
        if self._comm.rank != leader:
            told: ClockLine = self._comm.recv(source=leader, tag=_TAG)
            return told
        for peer in self._neighbours[1:]:
            self._comm.send(line, dest=peer, tag=_TAG)
        return line

    def _ask(self, peer: int) -> tuple[Moment, int]:
        """The middle of the shortest round trip, with half of it as error; what `peer` showed."""
        word, clock = np.zeros(1, np.int64), self.clock
        trips = []
        for _ in range(self._rounds):
            sent = clock()
            self._comm.Send(word, dest=peer, tag=_TAG)
            self._comm.Recv(word, source=peer, tag=_TAG)
            trips.append((clock() - sent, sent, int(word[0])))
        length, sent, shown = min(trips)
        return Moment(sent + length // 2, 0, length / 2 + 1), shown  # 1 ns: halves are cut off

    def _answer(self, peer: int) -> None:
        word, clock = np.zeros(1, np.int64), self.clock
        for _ in range(self._rounds):
            self._comm.Recv(word, source=peer, tag=_TAG)
            word[0] = clock()
            self._comm.Send(word, dest=peer, tag=_TAG)


def _along_a_tree(
    ranks: Sequence[int], me: int, tell: Callable[[int], None], learn: Callable[[int], None]
) -> None:
    """In each round those who know tell as many others; `ranks[0]` knows from the start."""
    place, step = ranks.index(me), 1
    while step < len(ranks):
        if step <= place < 2 * step:
            learn(ranks[place - step])
        elif place < step and place + step < len(ranks):
            tell(ranks[place + step])
        step *= 2


def relate(
    comm: Any,
    machine_of: Sequence[int],
    clock: Callable[[], int] = MONOTONIC,
    *,
    rounds: int = ROUNDS,
    spacing_s: float = SPACING_S,
) -> Clocks:
    """Relate the clocks of all ranks of `comm` to rank 0's. Collective.

    `machine_of` gives the machine of every rank. Between machines it measures at two moments,
    `spacing_s` apart, for the drift; `Clocks.renew` adds moments, which makes it better known.
    """
    clocks = Clocks(comm, machine_of, clock, rounds)
    if len(set(machine_of)) > 1:
        clocks.renew()
        time.sleep(spacing_s)
        clocks.renew()
    return clocks
