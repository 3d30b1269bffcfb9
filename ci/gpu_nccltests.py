"""NCCL's figures of `sweep` beside those of nccl-tests, taken in turns on the same GPU.

Reads what the step `nccltests` of ci/gpu.sh left: for each round N `nccltests-MODE-N.txt`, what
all_reduce_perf printed, and the records `sweep-nccltests-N.json`, `sweep-nccltests-graph-N.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.units import format_size

RANKS = 2
LIMIT = 0.05  # that ours may lie above or below theirs

Times = Mapping[int, float]  # microseconds by bytes
_ROW = re.compile(r"\s*(\d+)\s+\d+\s+float\s+sum\s+-1\s+([\d.]+)\s")
_RANK = re.compile(r"#\s+Rank\s+\d+ ")
_VERSION = re.compile(r"NCCL version ([\d.]+)")


@dataclass(frozen=True)
class Mode:
    """How NCCL is called; the same for both.

    Attributes:
        option: of all_reduce_perf.
        records: how the names of our records begin.
        buffers, variant: of our results.
    """

    option: str
    records: str
    buffers: str
    variant: str


MODES = {
    "plain": Mode("", "sweep-nccltests-", "private", "plain"),
    "symmetric": Mode("-R 2", "sweep-nccltests-", "symmetric", "window"),
    "graph": Mode("-G 10", "sweep-nccltests-graph-", "private", "plain"),
}


@dataclass(frozen=True)
class Output:
    """What all_reduce_perf printed: how many ranks reduced together, and its times out of place."""

    ranks: int
    version: str
    times: Times

    @classmethod
    def parse(cls, text: str) -> Output:
        """Take what is there of a table; it may have been cut off."""
        lines = text.splitlines()
        rows = [match for match in map(_ROW.match, lines) if match]
        found = _VERSION.search(text)
        return cls(
            sum(_RANK.match(line) is not None for line in lines),
            found[1] if found else "unknown",
            {int(row[1]): float(row[2]) for row in rows},
        )


def beside_nccltests(folder: Path, records: Mapping[str, RunRecord]) -> list[str]:
    """The better of all rounds of each, their ratio, and whether it is within the limit."""
    lines: list[str] = []
    for name, mode in MODES.items():
        texts = [path.read_text() for path in sorted(folder.glob(f"nccltests-{name}-*.txt"))]
        outputs = [Output.parse(text) for text in texts]
        ours = [record for key, record in records.items() if _is_round(key, mode.records)]
        lines += _doubts(name, outputs, ours)
        theirs = best(output.times for output in outputs if output.ranks == RANKS)
        lines += _rows(name, best(_times(record, mode) for record in ours), theirs)
    return lines or ["not run"]


def best(rounds: Iterable[Times]) -> Times:
    """The shortest time at each size."""
    found: dict[int, float] = {}
    for times in rounds:
        for size, us in times.items():
            found[size] = min(us, found.get(size, us))
    return found


def _is_round(key: str, beginning: str) -> bool:
    return key.startswith(beginning) and key.removeprefix(beginning).isdigit()


def _times(record: RunRecord, mode: Mode) -> Times:
    return {
        result.size_bytes: result.latency_us.median
        for result in record.results
        if (result.backend, result.buffers, result.variant) == ("nccl", mode.buffers, mode.variant)
        and result.check.status != "failed"
    }


def _rows(name: str, ours: Times, theirs: Times) -> Iterator[str]:
    for size in sorted(ours.keys() & theirs.keys()):
        ratio = ours[size] / theirs[size]
        off = abs(ratio - 1)
        verdict = "met" if off <= LIMIT else f"missed, {off:.1%} off"
        yield (
            f"{name:9} {format_size(size):>5}  ours {ours[size]:8.2f} us  nccl-tests "
            f"{theirs[size]:8.2f} us  {ratio:4.2f}x  within {LIMIT:.0%}: {verdict}"
        )


def _doubts(name: str, outputs: list[Output], ours: list[RunRecord]) -> Iterator[str]:
    for output in outputs:
        if output.ranks != RANKS:
            yield (
                f"{name}: all_reduce_perf had {output.ranks} ranks, not {RANKS}: it must be built "
                "with MPI=1, and NVRAR_GPU_MPIRUN name that MPI's mpirun"
            )
            return
    theirs = {output.version for output in outputs}
    mine = {str(record.environment.get("nccl")) for record in ours}
    if theirs and mine and theirs != mine:
        yield f"{name}: NCCL {_all(mine)} here and {_all(theirs)} in nccl-tests: another library"


def _all(versions: set[str]) -> str:
    return ", ".join(sorted(versions))
