"""The median of ranks is NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.statistics.middle import middle


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_it_is_that_of_numpy(count: int, dtype: type):
    values = (np.random.default_rng(count).normal(size=count) * 1e6).astype(dtype)
    assert middle(values) == np.median(values)
