"""The study of what `compare` covers, in small."""

from __future__ import annotations

import compare_coverage as study_of
import pytest

KINDS = {kind.title: kind for kind in study_of.KINDS}


@pytest.mark.parametrize(
    ("title", "counts"), [("alike", (1, 1)), ("differ by 2 %", (5, 5)), ("correlation 0.6", (3, 3))]
)
def test_the_true_ratio_is_covered(title, counts):
    covered, width = study_of.cell(KINDS[title], counts, 1, 60)
    assert covered >= 0.87
    assert 0.002 < width < 0.1


def test_an_interval_that_knows_of_samples_alone_would_fail():
    covered, _ = study_of.cell(KINDS["differ by 2 %"], (1, 1), 1, 60)
    assert covered < 0.5
