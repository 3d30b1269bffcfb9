"""What lies in the folder of a run of ci/gpu.sh: commands, records, the floor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_model import Floor, cost

from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.errors import UsageError

NOT_RUN = "not run"
KINDS = ("queued", "graph")  # of calls that a floor is of
_OPTIONAL = (
    ("sanitizer", "not run: compute-sanitizer not found"),
    ("nccltests", "not run: all_reduce_perf not found"),
    ("nccltests", "not run: NCCL refuses to share a GPU"),
)

Medians = Mapping[tuple[str, str, int], float]  # by backend, variant and size


@dataclass(frozen=True)
class Command:
    """A line of commands.tsv."""

    step: str
    name: str
    outcome: str
    seconds: str

    @property
    def failed(self) -> bool:
        """It ran, and not well."""
        return self.outcome.startswith("failed")

    @property
    def missing(self) -> bool:
        """It should have run."""
        return self.outcome.startswith(NOT_RUN) and (self.step, self.outcome) not in _OPTIONAL


@dataclass(frozen=True)
class Run:
    """All that there is in OUT."""

    folder: Path
    commands: tuple[Command, ...]
    records: Mapping[str, RunRecord]
    decodes: Mapping[str, DecodeRecord]
    damaged: tuple[str, ...]
    floors: Mapping[str, Floor]  # of calls that are queued, and in a graph

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Take what is there."""
        records, decodes, damaged, floors = {}, {}, [], dict[str, Floor]()
        for path in sorted(folder.glob("*.json")):
            try:
                if path.name == "floor.json":
                    floors = read_floors(path)
                elif path.name.startswith("decode-"):
                    decodes[path.stem] = DecodeRecord.from_json(path.read_bytes())
                else:
                    records[path.stem] = RunRecord.from_json(path.read_bytes())
            except (UsageError, ValueError, KeyError, TypeError) as error:
                damaged.append(f"{path.name}: {error}")
        commands = _commands(folder / "commands.tsv")
        return cls(folder, commands, records, decodes, tuple(damaged), floors)

    def named(self, *beginnings: str) -> dict[str, RunRecord]:
        """The records whose names begin so."""
        return {name: one for name, one in self.records.items() if name.startswith(beginnings)}

    def floor_us(
        self, record: RunRecord | None, protocol: str, size: int, kind: str
    ) -> float | None:
        """Of an all-reduce of the ranks of `record`; None where it is not known."""
        if record is None or kind not in self.floors:
            return None
        shape = record.topology
        return self.floors[kind].of(cost(protocol, shape.ranks, shape.nodes, size))

    @property
    def wrong(self) -> int:
        """Results that are wrong."""
        results = [result for one in self.records.values() for result in one.results]
        batches = (batch for one in self.decodes.values() for batch in one.results)
        checks = [result.check for result in results]
        checks += [step.check for batch in batches for step in batch.steps]
        return sum(check.status == "failed" for check in checks)

    @property
    def exit_code(self) -> int:
        """What the script ends with."""
        if self.wrong or self.damaged or any(command.failed for command in self.commands):
            return 1
        return 2 if not self.commands or any(c.missing for c in self.commands) else 0


def read_floors(path: Path) -> dict[str, Floor]:
    """Read floor.json."""
    found = json.loads(path.read_bytes())
    return {kind: _floor(found[kind]) for kind in KINDS}


def _floor(part: Mapping[str, Any]) -> Floor:
    copies = sorted((int(one["moved_bytes"]), float(one["median_us"])) for one in part["copies"])
    one_way, empty = part["flag"]["one_way_us"], part["empty_kernel_us"]
    return Floor(tuple(copies), float(one_way), float(empty), float(part["event_us"]))


def _commands(path: Path) -> tuple[Command, ...]:
    lines = path.read_text().splitlines() if path.is_file() else []
    return tuple(Command(*line.split("\t")) for line in lines if line.count("\t") == 3)


def medians(results: Iterable[Result], dtype: str = "float32") -> Medians:
    """In microseconds, of what is right; of two alike the first, for the second is `auto`'s."""
    found: dict[tuple[str, str, int], float] = {}
    for result in results:
        if result.dtype == dtype and result.check.status != "failed":
            key = result.backend, result.variant, result.size_bytes
            found.setdefault(key, result.latency_us.median)
    return found


def sizes(found: Medians) -> list[int]:
    """All sizes, ascending."""
    return sorted({size for _, _, size in found})


def fastest(found: Medians, backend: str, size: int) -> float | None:
    """The best median of a backend over its variants."""
    return min((us for (b, _, s), us in found.items() if (b, s) == (backend, size)), default=None)


def ratio(above: float | None, below: float | None) -> float | None:
    """None where either is not known, or nothing was measured."""
    return above / below if above is not None and below else None
