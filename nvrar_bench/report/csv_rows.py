"""CSV (RFC 4180): a row per result, or per sample, of one or several runs.

A column is called by the key of the record with its path, `_` between the parts; what differs from
that says so below. A spreadsheet must not take a text for a formula.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import FirstWrong, Latency, Result
from nvrar_bench.report.grid import printable
from nvrar_bench.statistics.points import POINT, counted, numbered, point_of

REPEAT = "repeat"  # counts results of a run at the same point, from 0
_FORMULA = ("=", "+", "-", "@")
_NUMBERS = ("-inf",)  # that the record writes as texts
BETWEEN_WARNINGS = " | "

Cells = Iterable[Any]
_OfRun = Callable[[RunRecord], Any]
_OfResult = Callable[[Result], Any]


def encode(records: Sequence[RunRecord]) -> str:
    """Return a row per result; what the record has as null is empty."""
    titles = [*RUN, *POINT, REPEAT, *_RESULT]
    return text(titles, (row for record in records for row in _rows(record)))


def encode_samples(records: Sequence[RunRecord]) -> str:
    """Return a row per sample, in the order in which they were taken."""
    titles = ["run_id", *POINT, REPEAT, "launch", "index", "latency_us", "late", "in_median"]
    return text(titles, (row for record in records for row in _sample_rows(record)))


def at(path: str) -> Callable[[Any], Any]:
    """Return what reads a key of the record: None where it is part of what is null."""

    def value(of: Any) -> Any:
        for key in path.split("."):
            of = None if of is None else getattr(of, key)
        return of

    return value


def columns(*paths: str) -> dict[str, Callable[[Any], Any]]:
    """Return columns of keys of the record, by their titles."""
    return {path.replace(".", "_"): at(path) for path in paths}


def _environment(key: str) -> _OfRun:
    return lambda record: record.environment.get(key)


RUN: dict[str, _OfRun] = {
    **columns("run.id", "run.started_at", "run.finished_at", "run.status", "run.version"),
    # Without `topology_` and `environment_`, which would say nothing.
    "ranks": at("topology.ranks"),
    "nodes": at("topology.nodes"),
    "ranks_per_node": at("topology.ranks_per_node"),
    "virtual_nodes": at("topology.virtual_nodes"),
    **{key: _environment(key) for key in ("host", "cpu", "gpu", "mpi_library")},
}
_RESULT: dict[str, _OfResult] = {
    **columns(
        *(f"latency_us.{key}" for key in Latency.__struct_fields__),
        *("algbw_gb_per_s", "busbw_gb_per_s"),
        *("check.status", "check.mode", "check.elements", "check.wrong"),
        *(f"check.first_wrong.{key}" for key in FirstWrong.__struct_fields__),
        "samples",
    ),
    "late_count": lambda result: len(result.late),
    **columns(
        *("batch", "warmup", "stop_reason", "precision.target", "precision.reached"),
        *("independence.effective_samples", "independence.lag1", "independence.drift"),
        *("launches.count", "launches.within_us", "launches.between_us"),
        *("state.flag_us", "state.copy_us", "state.work_us", "state.left_out"),
    ),
    "warnings": lambda result: BETWEEN_WARNINGS.join(result.warnings),
}


def _rows(record: RunRecord) -> Iterator[Cells]:
    of_run = [value(record) for value in RUN.values()]
    for repeat, result in numbered(record.results, point_of):
        figures = (value(result) for value in _RESULT.values())
        yield (*of_run, *point_of(result), repeat, *figures)


def _sample_rows(record: RunRecord) -> Iterator[Cells]:
    for repeat, result in numbered(record.results, point_of):
        head = (record.run.id, *point_of(result), repeat)
        mask = counted(result, record.one_state).mask.tolist()
        late, index = set(result.late), 0
        for launch, count in enumerate(result.launch_samples):
            for place in range(index, index + count):
                sample = result.samples_us[place]
                yield (*head, launch, place - index, sample, place in late, mask[place])
            index += count


def text(titles: Sequence[str], rows: Iterable[Cells]) -> str:
    """Write rows below their titles."""
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(titles)
    writer.writerows(map(_cell, row) for row in rows)
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Return what the csv module writes as it should: None is empty, numbers keep all digits."""
    if isinstance(value, str):
        text = printable(value, "utf-8")
        # A spreadsheet would run a text that begins like a formula; the quote makes it a text.
        return f"'{text}" if text.startswith(_FORMULA) and text not in _NUMBERS else text
    if isinstance(value, bool | list | dict):  # facts of somebody else's record may be anything
        return json.dumps(value)
    return value
