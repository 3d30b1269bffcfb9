"""How many launches a run wants, and whether it has them: `--launches`, `--max-launches`."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.statistics.figures import launches_in_state
from nvrar_bench.statistics.merged_result import LAUNCHES


@dataclass(frozen=True)
class Wanted:
    """`--launches` and `--max-launches`.

    So many launches; or so many that found the machine in one state at every point, out of `most`.
    """

    launches: int
    most: int | None = None

    @property
    def last(self) -> int:
        """How many there may be."""
        return self.launches if self.most is None else self.most

    def is_met(self, record: RunRecord) -> bool:
        """Whether there need be no more launches than those in `record`."""
        return self.most is not None and in_one_state(record) >= self.launches

    def warned(self, record: RunRecord) -> RunRecord:
        """Return `record` with a warning on each result of fewer launches than wanted."""
        if self.most is None:
            return record
        return replace(record, results=tuple(map(self._warned, record.results)))

    def _warned(self, result: Result) -> Result:
        found = launches_in_state(result)
        if found >= self.launches:
            return result
        text = (
            f"{LAUNCHES}{found} of {len(result.launch_samples)} found the machine in one state, "
            f"--launches {self.launches} were asked for: keep other work off it, or allow more "
            "--max-launches"
        )
        return replace(result, warnings=(*result.warnings, text))


def in_one_state(record: RunRecord) -> int:
    """How many launches each point is of, at least; all of them where there is no point."""
    return min(map(launches_in_state, record.results), default=int(record.settings["launches"]))
