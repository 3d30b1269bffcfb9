"""What a search for the best launches may try, and where its table goes; known before MPI is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.backends.nvrar.space import Space

MAX_TIME_S = 60.0


@dataclass(frozen=True)
class Tune:
    """The launches to try; at one size no round of the race begins after `max_time` seconds."""

    output: Path
    space: Space
    max_time: float

    def to_json(self) -> dict[str, Any]:
        """For the record; an empty list is what limits and size suggest."""
        listed = {key: list(values) for key, values in asdict(self.space).items()}
        return {"output": str(self.output), "max_time_s": self.max_time, **listed}
