"""Elements in GPU memory, as the rest of the suite passes them around."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import EllipsisType
from typing import Any

import numpy as np

from nvrar_bench.errors import UsageError


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """Elements in GPU memory; does not own them unless `owner` is set."""

    address: int  # device pointer of row 0
    count: int  # elements per row
    dtype: np.dtype[Any]
    rows: int = 1  # virtual ranks that share this process (loopback); 1 everywhere else
    pitch: int = 0  # row r starts r * pitch bytes behind `address`
    owner: object = None  # keeps the memory alive

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of one row."""
        return self.count * self.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """(count,), or (rows, count) with several rows."""
        return (self.count,) if self.rows == 1 else (self.rows, self.count)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice | tuple[EllipsisType, slice]) -> DeviceArray:
        """Some neighbouring elements of every row, `[a:b]` or `[..., a:b]`, on the same memory."""
        first, end, step = (part[1] if isinstance(part, tuple) else part).indices(self.count)
        if step != 1:
            raise UsageError(f"elements of GPU memory in steps of {step}; allowed: 1")
        address = self.address + first * self.itemsize
        return replace(self, address=address, count=max(0, end - first))

    def row(self, index: int) -> int:
        """Device pointer of a row."""
        return self.address + index * self.pitch

    def rows_with_data(self) -> range:
        """The rows' numbers; none if rows are empty, as CUDA refuses to move nothing."""
        return range(self.rows if self.count else 0)
