"""When a point has enough samples."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.timing.stopping import TURNS, Stopping, Taken, precision_of


def drive(rule, spread: float = 0.0, call_seconds: float = 1e-5, late_every: int = 0) -> list[int]:
    """Take turns as the rule asks for them, of calls that last 1 +- spread; the length of each."""
    random, turns, samples = np.random.default_rng(7), [], np.zeros(0)
    while True:
        taken = sum(turns)
        calls = rule.next_turn(Taken(samples, taken, taken * call_seconds))
        if not calls:
            return turns
        turns.append(calls)
        new = 1 + spread * random.standard_normal(calls)
        samples = np.append(samples, new[::late_every] if late_every else new)


@pytest.mark.parametrize(("iters", "turns"), [(1, 1), (3, 3), (20, 20), (24, 20), (205, 20)])
def test_iterations_are_taken_in_even_turns(iters, turns):
    rule = Stopping(iters).rule()
    lengths = drive(rule)
    assert (sum(lengths), len(lengths)) == (iters, turns)
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) <= TURNS
    assert (rule.reason, rule.target) == ("iterations", None)


def test_a_case_file_may_say_how_many():
    assert sum(drive(Stopping(200).rule(7))) == 7


def test_late_samples_are_not_made_up_for():
    assert sum(drive(Stopping(40).rule(), late_every=2)) == 40


def test_a_quiet_point_ends_with_the_fewest_samples_that_are_allowed():
    rule = Stopping(precision=0.01, min_samples=100).rule()
    assert 100 <= sum(drive(rule, spread=0.001)) < 160
    assert (rule.reason, rule.target) == ("precision", 0.01)


def test_a_noisy_point_goes_on_until_the_interval_is_narrow_enough():
    rule = Stopping(precision=0.01).rule()
    # The half-width is about 1.96 * 1.253 * spread / sqrt(n): 2,400 samples of 20 % noise.
    assert 1500 < sum(drive(rule, spread=0.2)) < 5000
    assert rule.reason == "precision"


def test_one_lucky_look_is_not_enough():
    rule = Stopping(precision=0.01, min_samples=100).rule()
    wide, narrow = np.linspace(0.5, 1.5, 200), np.ones(200)
    looks = [rule.next_turn(Taken(samples, 200, 0.0)) for samples in (wide, narrow, wide, narrow)]
    assert all(looks)
    assert rule.next_turn(Taken(narrow, 200, 0.0)) == 0


def test_turns_grow_by_a_quarter():
    lengths = drive(Stopping(precision=0.01, max_samples=2000).rule(), spread=0.5)
    taken = np.cumsum([0, *lengths])
    assert lengths[:4] == [20] * 4
    assert all(
        length <= max(20, before // 4) for length, before in zip(lengths, taken, strict=False)
    )


def test_samples_are_bounded():
    rule = Stopping(precision=0.001, max_samples=1234).rule()
    assert sum(drive(rule, spread=0.5)) == 1234
    assert rule.reason == "max_samples"


def test_late_calls_count_for_the_bound():
    rule = Stopping(precision=0.001, max_samples=500).rule()
    assert sum(drive(rule, spread=0.5, late_every=100)) == 500
    assert rule.reason == "max_samples"


@pytest.mark.parametrize("call_seconds", [1e-3, 0.05, 7.0])
def test_time_is_bounded_to_about_a_turn_of_what_is_left(call_seconds):
    rule = Stopping(precision=0.001, max_time=5.0).rule()
    lengths = drive(rule, spread=0.5, call_seconds=call_seconds)
    assert rule.reason == "max_time"
    # The first turn is blind; after it, no turn is longer than the time that is left.
    assert sum(lengths) * call_seconds <= max(5.0, 20 * call_seconds) + call_seconds


def test_precision_is_half_of_the_interval_over_the_median():
    six = np.array([3.0, 5.0, 1.0, 6.0, 2.0, 4.0])  # their interval is from the least to the most
    assert precision_of(six) == pytest.approx(2.5 / 3.5)
    assert precision_of(six[:5]) is None
    assert precision_of(six[:0]) is None
    assert precision_of(np.zeros(10)) is None


def alike(rule, lasts: int, call_seconds: float = 1e-5) -> list[int]:
    """Take turns of samples each value of which comes so many times in a row."""
    turns, samples = [], np.zeros(0)
    while calls := rule.next_turn(Taken(samples, sum(turns), sum(turns) * call_seconds)):
        turns.append(calls)
        count = sum(turns)
        values = np.random.default_rng(7).standard_normal(count // lasts + 1)
        samples = 10 + np.repeat(values, lasts)[:count]
    return turns


def test_the_default_is_as_many_calls_where_samples_are_independent():
    rule = Stopping(200, is_default=True).rule()
    assert sum(drive(rule, spread=0.1)) == 200
    assert (rule.reason, rule.target) == ("iterations", None)


def test_the_default_goes_on_where_samples_are_alike():
    rule = Stopping(200, is_default=True).rule()
    assert 300 < sum(alike(rule, lasts=8)) < 1000
    assert rule.reason == "iterations"


def test_the_default_does_not_go_on_for_ever():
    rule = Stopping(200, is_default=True).rule()
    assert sum(alike(rule, lasts=100)) == 1000
    assert rule.reason == "max_samples"


def test_the_default_does_not_go_on_for_long():
    rule = Stopping(200, is_default=True).rule()
    assert sum(alike(rule, lasts=100, call_seconds=0.001)) == 500
    assert rule.reason == "max_time"


def test_the_default_goes_on_where_hardly_any_is_in_time():
    assert sum(drive(Stopping(200, is_default=True).rule(), late_every=10**6)) == 500


def test_calls_that_were_asked_for_are_all():
    assert sum(alike(Stopping(200).rule(), lasts=100)) == 200
    assert sum(alike(Stopping(200, is_default=True).rule(30), lasts=10)) == 30
