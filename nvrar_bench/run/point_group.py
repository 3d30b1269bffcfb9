"""Some points of a sweep, measured in turns: verify, warm up, take turns at random, verify again.

A point is one backend at one case. Every turn of timed calls is checked as well, as it was left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from random import Random
from typing import TypeVar

import numpy as np
from mpi4py import MPI

from nvrar_bench.backends.base import Backend
from nvrar_bench.devices.base import Device
from nvrar_bench.plan import Case
from nvrar_bench.run.buffers import CaseBuffers, KnownCall
from nvrar_bench.run.point import Point, Turn
from nvrar_bench.run.starts import UNKNOWN, Start
from nvrar_bench.timing.loop import MONOTONIC, Nanoseconds, Timings
from nvrar_bench.timing.stopping import Iterations, StoppingRule

# Which set of known inputs each verifying call gets. Memory is reused after two calls, so a call's
# leftovers are those of two calls before: with this order they always belong to the other set.
VERIFY_ORDER = (1, 1, 0, 0)


# Samples between two readings of the yardstick, at most: few enough that the machine seldom changes
# its state between, so many that reading costs little.
MOST_OF_STRETCH = 100
# Of the yardstick: as exact as so many calls are worth.
LEAST_PASSES, MOST_PASSES = 5, 25
_T = TypeVar("_T")
ShowRound = Callable[[int, int], None]  # how many points are done, and of how many


class TurnOrder:
    """Random orders, to be drawn again from the same seed, launch and block of points.

    A drift of the machine, or what one point leaves in the caches for the next, then meets all
    points alike instead of always the same.
    """

    def __init__(self, seed: int, launch: int, block: int) -> None:
        self._random = Random(f"{seed}/{launch}/{block}")  # noqa: S311 - to be drawn again

    def draw(self, points: Sequence[_T]) -> list[_T]:
        """Return `points` in the next random order."""
        return self._random.sample(points, len(points))


class PointGroup:
    """The collective work of a group of points; every rank does the same.

    `watch` bounds the time spent on one case, `alive` says that there was progress, `show` gets
    after every round how many of the points are done. `one_state` is that of the points.
    """

    def __init__(
        self,
        device: Device,
        start: Start,
        watch: Callable[[Case], AbstractContextManager[object]],
        alive: Callable[[], None],
        show: ShowRound = lambda *_: None,
        one_state: bool = False,
    ) -> None:
        self._device, self._world = device, device.world
        self._start, self._gate = start, start.gate
        self._watch, self._alive, self._show = watch, alive, show
        self._one_state = one_state
        self._last: Nanoseconds | None = None  # what the yardstick said behind the turn before
        self.points: list[Point] = []

    def add(
        self, case: Case, backends: Iterable[Backend], buffers: CaseBuffers,
        known: list[KnownCall], rule: Callable[[], StoppingRule], batch: int = 1,
    ) -> None:  # fmt: skip
        """Prepare a point for each of the backends, with `batch` calls a sample; collective."""
        one = self._one_state
        for backend in backends:
            operation = backend.prepare(case, buffers.send, buffers.recv)
            point = Point(
                backend.name, case, operation, buffers, known, rule(), batch=batch, one_state=one
            )
            self.add_point(point)

    def add_point(self, point: Point) -> None:
        """Add a point that is prepared; its operation is closed when the group has run."""
        self._alive()
        self.points.append(point)

    def run(self, warmup: int, order: TurnOrder, *, stop_at_wrong: bool) -> None:
        """Measure all points; after a wrong result, with `stop_at_wrong`, only what shows it."""
        operations = [point.operation for point in self.points]
        try:
            self._each(self._verify)
            wrong = self._wrong_points()
            if wrong and stop_at_wrong:
                self.points = wrong[:1]
                wrong[0].rule = Iterations(1)
            self._each(lambda point: self._warm_up(point, warmup))
            self._take_turns(order, stop_at_wrong)
            self._each(self._checked_call)
        finally:
            for operation in operations:
                operation.close()

    def _each(self, do: Callable[[Point], None]) -> None:
        for point in self.points:
            with self._watch(point.case):
                do(point)

    def _take_turns(self, order: TurnOrder, stop_at_wrong: bool) -> None:
        """Round after round, each with the points that are not done in a new order."""
        open_points = list(self.points)
        while open_points:
            for point in order.draw(open_points):
                samples = point.next_turn()
                if not samples:
                    open_points.remove(point)
                    continue
                with self._watch(point.case):
                    is_wrong = self._turn(point, samples)
                if is_wrong and stop_at_wrong:
                    return
            self._show(len(self.points) - len(open_points), len(self.points))

    def _turn(self, point: Point, samples: int) -> bool:
        """Take a turn, and share it; whether anything was wrong on any rank."""
        start = time.monotonic()
        point.restore()
        point.spoil()  # what stands in the output is the others'
        timings = Timings.empty(samples)
        renew = partial(self._renew, point)
        passes = min(max(2 * samples, LEAST_PASSES), MOST_PASSES)
        states = [self._state(point, passes, self._last)]
        for first in range(0, samples, MOST_OF_STRETCH):
            self._untimed_call(point)  # what is in the caches is the others' too
            part = timings.part(first, MOST_OF_STRETCH)
            self._device.timer.time_calls(point.operation, renew, self._gate, part, point.batch)
            states.append(self._state(point, passes))
        self._check_turn(point)
        return self._share(point, timings, start, np.array(states))

    def _check_turn(self, point: Point) -> None:
        """Check what the last timed call has left, or else a call of its own right behind it."""
        if point.checks_what_is_timed:
            point.compare()
        else:
            self._checked_call(point)

    def _state(self, point: Point, passes: int, last: Nanoseconds | None = None) -> Nanoseconds:
        """Read the yardstick; `last` is what it said a moment ago.

        A clock of an operation's own does not go by the machine's state.
        """
        if point.operation.clock is not MONOTONIC:
            return UNKNOWN
        self._last = self._start.state(passes) if last is None else last
        return self._last

    def _share(self, point: Point, timings: Timings, start: float, states: Nanoseconds) -> bool:
        """Exchange a turn: of everything the maximum over ranks."""
        durations, late = timings.durations, self._start.late(timings, point.batch)
        seconds = time.monotonic() - start
        said = [int(seconds * 1e9), int(point.wrong() > 0)]
        arrived = self._start.arrived(timings)
        everyone = np.concatenate([durations, late, arrived, states.ravel(), said])
        self._world.comm.Allreduce(MPI.IN_PLACE, everyone, MPI.MAX)
        places = np.cumsum([len(timings)] * 3 + [states.size])
        *shared, (longest, wrong) = np.split(everyone, places)
        delays = self._start.delays(timings, shared[2])
        states = shared[3].reshape(states.shape)
        point.seconds += int(longest) / 1e9
        point.turns.append(Turn(shared[0], shared[1], delays, *_stretches(len(timings), states)))
        return bool(wrong)

    def _verify(self, point: Point) -> None:
        """The inputs of set 0 are in place afterwards."""
        for number in VERIFY_ORDER:
            self._checked_call(point, number)

    def _warm_up(self, point: Point, calls: int) -> None:
        point.restore()
        for _ in range(calls):
            self._untimed_call(point)

    def _wrong_points(self) -> list[Point]:
        """Return those that were wrong on any rank; collective."""
        wrong = np.array([point.wrong() > 0 for point in self.points], np.int64)
        self._world.comm.Allreduce(MPI.IN_PLACE, wrong, MPI.MAX)
        return [point for point, is_wrong in zip(self.points, wrong, strict=True) if is_wrong]

    def _renew(self, point: Point) -> None:
        self._alive()
        point.renew()

    def _untimed_call(self, point: Point) -> None:
        self._renew(point)
        self._launch(point)

    def _launch(self, point: Point) -> None:
        self._gate()
        point.operation.launch()
        self._device.finish(point.operation)

    def _checked_call(self, point: Point, number: int = 0) -> None:
        self._alive()
        point.restore(number)
        point.spoil()
        self._launch(point)
        point.compare(number)


def _stretches(samples: int, states: Nanoseconds) -> tuple[Nanoseconds, Nanoseconds]:
    """Return how many samples each stretch has, and what the yardstick said beside it.

    `states`, shape (n + 1, 3), was read before, between and behind n stretches; what counts is the
    mean of two neighbours, so that a stretch in which the machine changed lies between its states.
    """
    ends = np.minimum(np.arange(1, len(states)) * MOST_OF_STRETCH, samples)
    known = (states[:-1] > 0) & (states[1:] > 0)
    return np.diff(ends, prepend=0), np.where(known, (states[:-1] + states[1:]) // 2, 0)
