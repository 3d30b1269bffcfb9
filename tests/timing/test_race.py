"""A race of candidates, run on made-up samples: who wins, who drops out, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from nvrar_bench.statistics.median import estimate
from nvrar_bench.timing.race import (
    MATCH_CALLS,
    MOST_CALLS,
    TURN,
    Outcome,
    Race,
    SoFar,
    fastest,
)
from nvrar_bench.timing.stopping import Taken

US = 1e-6
# Seconds that call `call` of a candidate takes; `now` counts the calls of all of them.
Candidate = Callable[[int, int, np.random.Generator], float]


class Track:
    """Drives a race as a block does: in rounds, each in a new order."""

    def __init__(
        self, candidates: Sequence[Candidate], seed: int = 0, before: int | None = 0,
        seconds: float = 1e9,
    ) -> None:  # fmt: skip
        self.candidates = candidates
        self.random = np.random.default_rng(seed)
        self.samples: list[list[float]] = [[] for _ in candidates]
        self.now, self.rounds = 0, 0
        self.race = Race(len(candidates), before, seconds, lambda: float(self.rounds))
        self.rules = [self.race.rule(number) for number in range(len(candidates))]

    def run(self) -> Outcome:
        running = list(range(len(self.candidates)))
        while running:
            for number in self.random.permutation(running).tolist():
                taken = Taken(np.array(self.samples[number]), len(self.samples[number]), 0.0)
                calls = self.rules[number].next_turn(taken)
                self._turn(number, calls) if calls else running.remove(number)
            self.rounds += 1
            self.race.judge(self.shown())
        return self.race.outcome(self.shown())

    def _turn(self, number: int, calls: int) -> None:
        for _ in range(calls):
            call = self.candidates[number]
            self.samples[number].append(call(len(self.samples[number]), self.now, self.random))
            self.now += 1

    def shown(self) -> list[SoFar]:
        return [SoFar(np.array(one), np.ones(len(one), bool)) for one in self.samples]


def steady(microseconds: float, noise: float = 0.05) -> Candidate:
    """Log-normal noise, and now and then a spike of a hundred times as long."""

    def call(_: int, __: int, random: np.random.Generator) -> float:
        spike = 100.0 if random.random() < 0.02 else 1.0
        return microseconds * US * spike * float(np.exp(noise * random.standard_normal()))

    return call


def test_a_clear_winner_takes_few_calls():
    track = Track([steady(10), steady(5), steady(11), steady(20)])
    outcome = track.run()
    assert (outcome.winner, outcome.fastest, outcome.level, outcome.reason) == (1, 1, 1, "winner")
    assert outcome.winner_figure.value == pytest.approx(5 * US, rel=0.02)
    assert outcome.before_figure is not None
    assert outcome.before_figure.value == pytest.approx(10 * US, rel=0.02)
    assert len(track.samples[3]) == TURN
    assert track.race.reason_of(3) == "slower"
    assert len(track.samples[1]) == TURN + MATCH_CALLS


def test_what_was_there_before_waits_for_the_match_when_it_has_dropped_out():
    track = Track([steady(30), steady(5), steady(5.5)])
    outcome = track.run()
    assert outcome.winner == 1
    assert 0 not in track.race.open
    _, match = track.samples[0][:-MATCH_CALLS], track.samples[0][-MATCH_CALLS:]
    assert outcome.before_figure == estimate(np.array(match))


def test_a_tie_leaves_what_was_there_before():
    outcome = Track([steady(10)] * 5).run()
    assert outcome.winner == 0
    assert outcome.winner_figure == outcome.before_figure
    assert outcome.level >= 2
    assert outcome.reason in ("alike", "max_samples")


@pytest.mark.slow
def test_noise_alone_hardly_ever_wins():
    """Of 20 alike the fastest is ahead by chance: the match is what it must win."""
    wins = sum(Track([steady(10, 0.2)] * 20, seed=seed).run().winner != 0 for seed in range(30))
    assert wins <= 1


def test_a_small_gain_is_found_where_samples_tell_it():
    outcomes = [Track([steady(10), steady(9.5)], seed=seed).run() for seed in range(20)]
    assert sum(outcome.winner == 1 for outcome in outcomes) >= 19


def test_a_candidate_that_is_fast_once_does_not_win():
    def once(call: int, now: int, random: np.random.Generator) -> float:
        return steady(2 if call < TURN else 12)(call, now, random)

    outcome = Track([steady(10), once, steady(11)]).run()
    assert outcome.winner == 0


def test_a_drift_hits_all_alike():
    def drifting(microseconds: float, calls: int) -> Candidate:
        def call(number: int, now: int, random: np.random.Generator) -> float:
            return steady(microseconds * (1 + now / calls))(number, now, random)

        return call

    outcome = Track([drifting(of, 10_000) for of in (10, 8, 10)]).run()
    assert (outcome.winner, outcome.fastest) == (1, 1)
    for seed in range(5):
        assert Track([drifting(10, 1000)] * 3, seed=seed).run().winner == 0


def test_a_machine_that_changes_its_state_is_no_candidates_fault():
    track = Track([steady(10), steady(8)])
    slow_when_busy = [
        lambda call, now, random, of=of: of(call, now, random) * (3 if track.rounds % 5 == 4 else 1)
        for of in track.candidates
    ]
    track.candidates = slow_when_busy
    outcome = track.run()
    assert outcome.winner == 1
    assert outcome.winner_figure.value == pytest.approx(8 * US, rel=0.06)


def test_late_samples_decide_nothing():
    shown = Track([steady(10)]).shown()[0]
    samples = np.array([1.0, 9.0, 9.0, 9.0])
    one = SoFar(samples, samples > 1)
    assert fastest([SoFar(np.full(4, 8.0), np.ones(4, bool)), one], [3, 7]) == 3
    assert len(shown.samples) == 0


def test_the_time_ends_the_rounds_but_not_the_match():
    track = Track([steady(10, 0.5), steady(9.9, 0.5), steady(9.8, 0.5)], seconds=2.0)
    outcome = track.run()
    assert outcome.reason == "max_time"
    assert track.race.rounds == 2
    assert len(track.samples[outcome.fastest]) >= MATCH_CALLS


def test_calls_are_bounded():
    track = Track([steady(10, 2.0), steady(10, 2.0)])
    assert track.run().reason == "max_samples"
    assert max(map(len, track.samples)) < 1.25 * MOST_CALLS + 2 * TURN + MATCH_CALLS


def test_where_nothing_was_there_before_the_fastest_wins():
    outcome = Track([steady(10), steady(5)], before=None).run()
    assert (outcome.winner, outcome.before_figure) == (1, None)


def test_one_candidate_wins_alone():
    outcome = Track([steady(10)]).run()
    assert (outcome.winner, outcome.level, outcome.reason) == (0, 1, "winner")
    assert outcome.winner_figure == outcome.before_figure


def test_a_race_is_run_again_from_its_seed():
    tracks = [Track([steady(10), steady(9.8), steady(9.9)], seed=5) for _ in range(2)]
    assert tracks[0].run() == tracks[1].run()
    assert tracks[0].samples == tracks[1].samples
