"""Sources for the GPU compiler that are not generated."""

from __future__ import annotations

from dataclasses import dataclass

ARCH = "sm_90"


@dataclass(frozen=True)
class Text:
    """A source that is not generated."""

    source: str
    name: str = "text"


TINY = Text('extern "C" __global__ void nvrar_all_reduce(int* out) { *out = 1; }\n', "tiny")
