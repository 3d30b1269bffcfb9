"""The study of coverage, in small: its criterion, the binomial's chance aside."""

from __future__ import annotations

from math import sqrt

import coverage as study_of
import numpy as np
import pytest

TRIALS = 100
SLACK = 3.5 * sqrt(0.05 * 0.95 / TRIALS)
KINDS = {kind.name: kind for kind in study_of.kinds()}


@pytest.mark.parametrize(
    "name",
    [
        "independent, n = 100",
        "AR(1), 0.5, n = 200",
        "AR(1), 0.98, n = 100",
        "start 50 % slower, n = 200",
        "step of 20 % at 1/2, n = 200",
        "3 launches of 100",
    ],
)
def test_criterion(name):
    kind = KINDS[name]
    row = study_of.study(kind, (7, 7), TRIALS)
    assert study_of.passes(kind, row, SLACK), row


def test_an_interval_that_knows_of_no_autocorrelation_would_fail(monkeypatch):
    monkeypatch.setattr("nvrar_bench.statistics.independence.inefficiency", lambda *_: 1.0)
    monkeypatch.setattr("nvrar_bench.statistics.independence.batch_inefficiency", lambda _: None)
    kind = KINDS["AR(1), 0.7, n = 200"]
    row = study_of.study(kind, (7, 7), TRIALS)
    assert row.covered < 0.8
    assert not study_of.passes(kind, row, SLACK)


def test_the_median_of_each_kind_is_its_median():
    """Of 100,000 samples, from independent trials."""
    random = np.random.default_rng(1)
    for kind in KINDS.values():
        if kind.criterion == "holds":
            many = [kind.make(random) for _ in range(100_000 // len(kind.make(random)))]
            assert np.median(np.concatenate(many)) == pytest.approx(kind.median, rel=0.03)
