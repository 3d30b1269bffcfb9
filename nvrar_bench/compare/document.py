"""What a comparison says: frozen dataclasses whose fields are the keys of its JSON, one to one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nvrar_bench.results.shapes import to_text
from nvrar_bench.statistics.conditions import Difference
from nvrar_bench.statistics.keys import Key

FORMAT = "nvrar-bench.comparison"
FORMAT_VERSION = "1.1"
Verdict = Literal["slower", "faster", "same", "undecided", "wrong"]
VERDICTS: tuple[Verdict, ...] = ("slower", "faster", "same", "undecided", "wrong")
SIDES = ("base", "new")


@dataclass(frozen=True)
class RunFacts:
    """Which run it is, and how many launches of mpirun its points have, at most."""

    file: str
    id: str
    started_at: str
    status: str
    version: str
    launches: int


@dataclass(frozen=True)
class Measured:
    """One run's figure at a point: the median of its launches' medians, with its interval.

    `left_out` counts samples in time that found the machine in another state, where one state was
    asked for; nothing here is of those.
    """

    median_us: float | None
    low_us: float | None
    high_us: float | None
    samples: int
    launches: int
    left_out: int


@dataclass(frozen=True)
class Point:
    """A point that both runs have; `ratio` is new / base, None where there is none to speak of.

    `launches_needed` is about how many launches of each run would decide what is undecided; None
    where it is decided, or more than `needed.MOST` launches would be needed, or launches cannot.
    """

    key: Key
    base: Measured
    new: Measured
    ratio: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    launches_needed: int | None


@dataclass(frozen=True)
class Missing:
    """A point that one of the two runs lacks."""

    key: Key
    missing_in: Literal["base", "new"]

    def __str__(self) -> str:
        """Name the point and the run."""
        return f"{self.key}: not in {self.missing_in}"


@dataclass(frozen=True)
class Comparison:
    """One run against the base."""

    new: RunFacts
    points: tuple[Point, ...]
    missing: tuple[Missing, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> dict[str, int]:
        """How many points have each verdict, how many there are, and how many are missing."""
        counts = Counter(point.verdict for point in self.points)
        verdicts: dict[str, int] = {verdict: counts[verdict] for verdict in VERDICTS}
        return {"points": len(self.points), **verdicts, "missing": len(self.missing)}


@dataclass(frozen=True)
class Document:
    """All runs against the base; `threshold` is a part: 0.05 is 5 %."""

    version: str
    threshold: float
    launch_spread: float
    one_state: bool
    confidence: float
    replicates: int
    seed: int
    base: RunFacts
    comparisons: tuple[Comparison, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document as plain dicts, lists, texts and numbers."""
        plain = asdict(self)
        for one, shown in zip(self.comparisons, plain["comparisons"], strict=True):
            shown["points"] = [_flattened(point) for point in shown["points"]]
            shown["missing"] = [_flattened(missing) for missing in shown["missing"]]
            shown["summary"] = one.summary
        lists: dict[str, Any] = json.loads(json.dumps(plain))  # of tuples
        return {"format": FORMAT, "format_version": FORMAT_VERSION, **lists}


def encode(document: Document) -> str:
    """Write a document as JSON text."""
    return to_text(document.to_json(), indent=1) + "\n"


def _flattened(value: dict[str, Any]) -> dict[str, Any]:
    """Put the fields of the key beside the others: a point's row is one table for its readers."""
    return {**value["key"], **{name: item for name, item in value.items() if name != "key"}}
