"""CSV (RFC 4180): a row per result, step or sample, of one or several runs.

A column is called by the key of the record with its path, `_` between the parts; what differs from
that says so below. A spreadsheet must not take a text for a formula.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from typing import Any

from nvrar_bench.documents.decode import WITHOUT, DecodeRecord, Figure
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import FirstWrong, Latency
from nvrar_bench.report.grid import printable
from nvrar_bench.statistics.points import POINT, Counted, numbered, point_of

_REPEAT = "repeat"  # counts results of a run at the same point, from 0
_FORMULA = ("=", "+", "-", "@")
_NUMBERS = ("-inf",)  # that the record writes as texts
_BETWEEN_WARNINGS = " | "

_Cells = Iterable[Any]
_Columns = dict[str, Callable[[Any], Any]]  # by title, what reads them
_Records = Sequence[RunRecord] | Sequence[DecodeRecord]


def encode(records: _Records) -> str:
    """Return a row per result, or per batch and backend; what the record has as null is empty."""
    is_decode = isinstance(records[0], DecodeRecord)
    of_result = (*_MODEL, *_BATCH, *_STEP) if is_decode else (*POINT, _REPEAT, *_RESULT)
    return _text([*_RUN, *of_result], (row for record in records for row in _rows(record)))


def encode_samples(records: _Records) -> str:
    """Return a row per sample, in the order in which they were taken."""
    titles = [*POINT, _REPEAT, "launch", "index", "latency_us", "late", "in_median"]
    if isinstance(records[0], DecodeRecord):
        titles = ["model", "batch", "backend", "variant", "index", "step_us", "late"]
    return _text(["run_id", *titles], (row for record in records for row in _sample_rows(record)))


def at(path: str) -> Callable[[Any], Any]:
    """Return what reads a key of the record: None where it is part of what is null."""

    def value(of: Any) -> Any:
        for key in path.split("."):
            of = None if of is None else getattr(of, key)
        return of

    return value


def _columns(*paths: str) -> _Columns:
    """Return columns of keys of the record, by their titles."""
    return {path.replace(".", "_"): at(path) for path in paths}


def _environment(key: str) -> Callable[[Any], Any]:
    return lambda record: record.environment.get(key)


_RUN: _Columns = {
    **_columns("run.id", "run.started_at", "run.finished_at", "run.status", "run.version"),
    # Without `topology_` and `environment_`, which would say nothing.
    "ranks": at("topology.ranks"),
    "nodes": at("topology.nodes"),
    "ranks_per_node": at("topology.ranks_per_node"),
    "virtual_nodes": at("topology.virtual_nodes"),
    **{key: _environment(key) for key in ("host", "cpu", "gpu", "mpi_library")},
}
_CHECK = (
    *("check.status", "check.mode", "check.elements", "check.wrong"),
    *(f"check.first_wrong.{key}" for key in FirstWrong.__struct_fields__),
)
_RESULT: _Columns = {
    **_columns(
        *(f"latency_us.{key}" for key in Latency.__struct_fields__),
        *("algbw_gb_per_s", "busbw_gb_per_s"),
        *_CHECK,
        "samples",
    ),
    "late_count": lambda result: len(result.late),
    **_columns(
        *("batch", "warmup", "stop_reason", "precision.target", "precision.reached"),
        *("independence.effective_samples", "independence.lag1", "independence.drift"),
        *("launches.count", "launches.within_us", "launches.between_us"),
        *("state.flag_us", "state.copy_us", "state.work_us", "state.left_out"),
    ),
    "warnings": lambda result: _BETWEEN_WARNINGS.join(result.warnings),
}
_MODEL: _Columns = {
    "model": at("model.name"),
    **_columns("step.all_reduces", "step.layer_bytes", "step.context", "step.compute"),
}
_BATCH = _columns(
    *("batch", "count", "size_bytes", "kv_bytes"),
    *(f"work.latency_us.{key}" for key in ("median", "ci95_low", "ci95_high")),
)
_FIGURES = ("all_reduce_us", "all_reduce_part", "tokens_per_s", "speed_up")
_STEP: _Columns = {
    **_columns(
        *("backend", "variant"),
        *(f"step.latency_us.{key}" for key in Latency.__struct_fields__),
        *(f"{name}.{key}" for name in _FIGURES for key in Figure.__struct_fields__),
        *("versus", *_CHECK, "step.samples"),
    ),
    "late_count": lambda one: len(one.step.late),
    **_columns("step.warmup", "step.stop_reason", "step.independence.effective_samples"),
    "warnings": lambda one: _BETWEEN_WARNINGS.join(one.step.warnings),
}


def _rows(record: RunRecord | DecodeRecord) -> Iterator[_Cells]:
    of_run = _values(_RUN, record)
    if isinstance(record, RunRecord):
        for repeat, result in numbered(record.results, point_of):
            yield (*of_run, *point_of(result), repeat, *_values(_RESULT, result))
        return
    of_run += _values(_MODEL, record)
    for batch in record.results:
        of_batch = _values(_BATCH, batch)
        yield from ((*of_run, *of_batch, *_values(_STEP, one)) for one in batch.steps)


def _values(columns: _Columns, of: Any) -> list[Any]:
    return [value(of) for value in columns.values()]


def _sample_rows(record: RunRecord | DecodeRecord) -> Iterator[_Cells]:
    rows = _samples(record) if isinstance(record, RunRecord) else _step_samples(record)
    yield from ((record.run.id, *row) for row in rows)


def _samples(record: RunRecord) -> Iterator[_Cells]:
    for repeat, result in numbered(record.results, point_of):
        head = (*point_of(result), repeat)
        mask = Counted.of_result(result, record.one_state).mask.tolist()
        late, index = set(result.late), 0
        for launch, count in enumerate(result.launch_samples):
            for place in range(index, index + count):
                sample = result.samples_us[place]
                yield (*head, launch, place - index, sample, place in late, mask[place])
            index += count


def _step_samples(record: DecodeRecord) -> Iterator[_Cells]:
    for result in record.results:
        timed = [(one.backend, one.variant, one.step) for one in result.steps]
        if result.work:
            timed.append((WITHOUT, "", result.work))
        for backend, variant, step in timed:
            head = (record.model.name, result.batch, backend, variant)
            late = set(step.late)
            for index, sample in enumerate(step.samples_us):
                yield (*head, index, sample, index in late)


def _text(titles: Sequence[str], rows: Iterable[_Cells]) -> str:
    """Write rows below their titles."""
    file = StringIO(newline="")  # the csv module ends lines itself, as the RFC wants
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
