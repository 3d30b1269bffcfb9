"""The quantile, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nvrar_bench.statistics.median import NORMAL_975, t_975


@pytest.mark.parametrize("freedom", [1, 1.0001, 1.5, 2, 3.7, 9, 25, 199, 9999, 10001, 1e6, 1e12])
def test_the_quantile_is_that_of_scipy(freedom: float) -> None:
    assert t_975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_without_bound_it_is_the_normal_one() -> None:
    assert t_975(np.inf) == pytest.approx(stats.norm.ppf(0.975), rel=1e-15) == NORMAL_975
