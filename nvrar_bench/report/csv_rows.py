"""CSV (RFC 4180): a row per result, or per sample, of one or several runs.

A column is called by the key of the record with its path, `_` between the parts; what differs from
that says so below. A spreadsheet must not take a text for a formula.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from operator import attrgetter
from typing import Any

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report.show import printable
from nvrar_bench.statistics.figures import in_median
from nvrar_bench.statistics.points import POINT, numbered, point_of

REPEAT = "repeat"  # counts results of a run at the same point, from 0
_FORMULA = ("=", "+", "-", "@")
_NUMBERS = ("-inf",)  # that the record writes as texts
_BETWEEN_WARNINGS = " | "

Row = Iterable[Any]
_OfRun = Callable[[RunRecord], Any]
_OfResult = Callable[[Result], Any]


def encode(records: Sequence[RunRecord]) -> str:
    """Return a row per result; what the record has as null is empty."""
    titles = [*_RUN, *POINT, REPEAT, *_RESULT]
    return _text(titles, (row for record in records for row in _rows(record)))


def encode_samples(records: Sequence[RunRecord]) -> str:
    """Return a row per sample, in the order in which they were taken."""
    titles = ["run_id", *POINT, REPEAT, "launch", "index", "latency_us", "late", "in_median"]
    return _text(titles, (row for record in records for row in _sample_rows(record)))


def _environment(key: str) -> _OfRun:
    return lambda record: record.environment.get(key)


def _first_wrong(key: str) -> _OfResult:
    return lambda result: getattr(result.check.first_wrong, key, None)


_RUN: dict[str, _OfRun] = {
    "run_id": attrgetter("run.id"),
    "run_started_at": attrgetter("run.started_at"),
    "run_finished_at": attrgetter("run.finished_at"),
    "run_status": attrgetter("run.status"),
    "run_version": attrgetter("run.version"),
    # Without `topology_` and `environment_`, which would say nothing.
    "ranks": attrgetter("topology.ranks"),
    "nodes": attrgetter("topology.nodes"),
    "ranks_per_node": attrgetter("topology.ranks_per_node"),
    "virtual_nodes": attrgetter("topology.virtual_nodes"),
    "host": _environment("host"),
    "cpu": _environment("cpu"),
    "gpu": _environment("gpu"),
    "mpi_library": _environment("mpi_library"),
}
_RESULT: dict[str, _OfResult] = {
    "latency_us_median": attrgetter("latency_us.median"),
    "latency_us_ci95_low": attrgetter("latency_us.ci95_low"),
    "latency_us_ci95_high": attrgetter("latency_us.ci95_high"),
    "latency_us_mean": attrgetter("latency_us.mean"),
    "latency_us_min": attrgetter("latency_us.min"),
    "latency_us_max": attrgetter("latency_us.max"),
    "latency_us_p95": attrgetter("latency_us.p95"),
    "latency_us_p99": attrgetter("latency_us.p99"),
    "algbw_gb_per_s": attrgetter("algbw_gb_per_s"),
    "busbw_gb_per_s": attrgetter("busbw_gb_per_s"),
    "check_status": attrgetter("check.status"),
    "check_mode": attrgetter("check.mode"),
    "check_elements": attrgetter("check.elements"),
    "check_wrong": attrgetter("check.wrong"),
    "check_first_wrong_rank": _first_wrong("rank"),
    "check_first_wrong_index": _first_wrong("index"),
    "check_first_wrong_expected": _first_wrong("expected"),
    "check_first_wrong_seen": _first_wrong("seen"),
    "samples": attrgetter("samples"),
    "late_count": lambda result: len(result.late),
    "warmup": attrgetter("warmup"),
    "stop_reason": attrgetter("stop_reason"),
    "precision_target": attrgetter("precision.target"),
    "precision_reached": attrgetter("precision.reached"),
    "independence_effective_samples": attrgetter("independence.effective_samples"),
    "independence_lag1": attrgetter("independence.lag1"),
    "independence_drift": attrgetter("independence.drift"),
    "launches_count": attrgetter("launches.count"),
    "launches_within_us": attrgetter("launches.within_us"),
    "launches_between_us": attrgetter("launches.between_us"),
    "state_flag_us": attrgetter("state.flag_us"),
    "state_copy_us": attrgetter("state.copy_us"),
    "state_work_us": attrgetter("state.work_us"),
    "state_left_out": attrgetter("state.left_out"),
    "warnings": lambda result: _BETWEEN_WARNINGS.join(result.warnings),
}


def _rows(record: RunRecord) -> Iterator[Row]:
    of_run = [value(record) for value in _RUN.values()]
    for repeat, result in numbered(record.results, point_of):
        figures = (value(result) for value in _RESULT.values())
        yield (*of_run, *point_of(result), repeat, *figures)


def _sample_rows(record: RunRecord) -> Iterator[Row]:
    for repeat, result in numbered(record.results, point_of):
        head = (record.run.id, *point_of(result), repeat)
        counted, late, index = in_median(result, record.one_state).tolist(), set(result.late), 0
        for launch, count in enumerate(result.launch_samples):
            for place in range(index, index + count):
                sample = result.samples_us[place]
                yield (*head, launch, place - index, sample, place in late, counted[place])
            index += count


def _text(titles: Sequence[str], rows: Iterable[Row]) -> str:
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(titles)
    writer.writerows(map(_cell, row) for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Return what the csv module writes as it should: None is empty, numbers keep all digits."""
    if isinstance(value, str):
        text = printable(value, "utf-8")
        return f"'{text}" if text.startswith(_FORMULA) and text not in _NUMBERS else text
    if isinstance(value, bool | list | dict):  # facts of somebody else's record may be anything
        return json.dumps(value)
    return value
