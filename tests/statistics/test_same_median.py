"""The table of a run, its report and its comparison with itself show one median at every point."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nvrar_bench.documents.record import FORMAT, RunRecord
from nvrar_bench.documents.result import Result, Stretch
from nvrar_bench.report import csv_rows
from nvrar_bench.statistics.comparison import compare
from nvrar_bench.statistics.figures import replay
from nvrar_bench.statistics.merge import merge
from nvrar_bench.statistics.verdicts import Terms
from tests.statistics.records import launches, record, result

STORED = Path(__file__).parents[2] / "docs" / "measurements"
OLDER = ("1.0", "1.1", "1.2", "1.3")


def restless(count: int, generator: np.random.Generator) -> tuple[Stretch, ...]:
    """A yardstick that says now this, now that, as on a machine that other guests share."""
    us = 3.0 * generator.choice([1.0, 1.3, 1.9], count)
    return tuple(Stretch(10, 0.1, 2.0, round(float(one), 3)) for one in us)


def measured(seed: int, count: int, size: int, length: int = 60, **facts: Any) -> Result:
    generator = np.random.default_rng(seed)
    runs = launches(generator, count, length, noise=0.2, between=0.1)
    stretches = restless(count * length // 10, generator)
    late = tuple(generator.choice(count * length, 3, replace=False).tolist())
    return result(
        [np.round(run, 3).tolist() for run in runs], size, stretches=stretches, late=late, **facts
    )


def runs() -> Iterator[tuple[str, RunRecord]]:
    for count in (1, 2, 3, 4, 7, 60):
        points = [measured(seed, count, 4 << seed) for seed in range(3)]
        yield f"{count} launches", record(*points)
        yield f"{count} launches of one state", replay(record(*points), one_state=True)
    yield "all late", record(result([[3.0, 4.0], [5.0, 9.0]], late=tuple(range(4))))
    yield "one launch late", record(result([[3.0] * 9, [5.0] * 9], late=tuple(range(9))))
    parts = [record(measured(seed, 1, 4), run_id=f"{seed:032x}") for seed in range(4)]
    yield "merged", merge(parts)
    for path in sorted(STORED.rglob("*.json")):
        value = json.loads(path.read_bytes())
        if isinstance(value, dict) and value.get("format") == FORMAT:
            yield path.name, RunRecord.from_json(value)


def medians(run: RunRecord) -> list[float]:
    return [each.latency_us.median for each in replay(run).results]


def compared(run: RunRecord, other: RunRecord, terms: Terms) -> list[tuple[Any, Any, str]]:
    (found,) = compare(("a.json", run), [("b.json", other)], terms, 0).comparisons
    return [(one.base.median_us, one.new.median_us, one.verdict) for one in found.points]


def in_csv(run: RunRecord) -> list[float]:
    rows = csv.DictReader(io.StringIO(csv_rows.encode([replay(run)])))
    return [float(row["latency_us_median"]) for row in rows]


EVERY = [pytest.param(run, id=name) for name, run in runs()]


@pytest.mark.parametrize("run", EVERY)
def test_one_median(run: RunRecord) -> None:
    again = RunRecord.from_json(json.dumps(replay(run).to_json()))
    found = compared(run, again, Terms())
    assert [base for base, _, _ in found] == [new for _, new, _ in found] == medians(run)
    assert in_csv(run) == medians(run)
    assert {verdict for *_, verdict in found} <= {"same", "wrong"}


@pytest.mark.parametrize("run", EVERY)
def test_one_median_where_one_state_is_asked_for(run: RunRecord) -> None:
    found = compared(run, run, Terms(one_state=True))
    assert [base for base, _, _ in found] == medians(replay(run, one_state=True))
    assert {verdict for *_, verdict in found} <= {"same", "wrong"}


@pytest.mark.parametrize("version", OLDER)
def test_one_median_of_a_record_of_an_earlier_format(version: str) -> None:
    value = record(measured(5, 1, 4096)).to_json()
    value["format_version"] = version
    added = {"1.0": ("launch_samples", "late", "launches", "stretches", "state", "shape")}
    for key in added.get(version, ()):
        del value["results"][0][key]
    older = RunRecord.from_json(value)
    assert [base for base, *_ in compared(older, older, Terms())] == medians(older)
