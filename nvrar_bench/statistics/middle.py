"""The median as ranks need it: NumPy's loads numpy.ma, 20 ms of the core of each rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def middle(values: npt.ArrayLike) -> float:
    """Return what np.median does of at least one value, none of which is NaN."""
    ordered: Any = np.sort(np.asarray(values), axis=None)
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2
