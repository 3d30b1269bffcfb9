"""An array that shows DLPack alone, as those of other libraries do."""

from __future__ import annotations

import numpy as np

from nvrar_bench.api import operand
from nvrar_bench.datatypes import DTYPES


class Speaker:
    """NumPy's `array`, of any dtype of the suite. `device` is what it says of itself."""

    def __init__(self, array, device=operand.HOST, refusal=None):
        self.array, self.device, self.refusal = array, device, refusal
        self.asked = []

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **how):
        self.asked.append(dict(how))
        stream = how.pop("stream", None)
        assert (stream == -1) == (self.device[0] in (operand.CUDA, operand.CUDA_MANAGED))
        if self.refusal is not None:
            raise self.refusal
        name = next((name for name, row in DTYPES.items() if row.numpy == self.array.dtype), None)
        if name not in operand.BEYOND_NUMPY:
            return self.array.__dlpack__(**how)
        unsigned = self.array.view(np.ndarray).view(f"u{self.array.itemsize}")
        return operand.export(unsigned, name, self.device)
