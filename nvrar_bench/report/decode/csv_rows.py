"""CSV of decode steps: a row per batch and backend, or per sample; as report/csv_rows.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nvrar_bench.documents.decode import WITHOUT, DecodeRecord, Figure
from nvrar_bench.documents.result import FirstWrong, Latency
from nvrar_bench.report.csv_rows import BETWEEN_WARNINGS, RUN, Cells, at, columns, text

_MODEL: dict[str, Callable[[Any], Any]] = {
    "model": at("model.name"),
    **columns("step.all_reduces", "step.layer_bytes", "step.context", "step.compute"),
}
_BATCH = columns(
    *("batch", "count", "size_bytes", "kv_bytes"),
    *(f"work.latency_us.{key}" for key in ("median", "ci95_low", "ci95_high")),
)
_FIGURES = ("all_reduce_us", "all_reduce_part", "tokens_per_s", "speed_up")
_STEP: dict[str, Callable[[Any], Any]] = {
    **columns(
        *("backend", "variant"),
        *(f"step.latency_us.{key}" for key in Latency.__struct_fields__),
        *(f"{name}.{key}" for name in _FIGURES for key in Figure.__struct_fields__),
        *("versus", "check.status", "check.mode", "check.elements", "check.wrong"),
        *(f"check.first_wrong.{key}" for key in FirstWrong.__struct_fields__),
        "step.samples",
    ),
    "late_count": lambda one: len(one.step.late),
    **columns("step.warmup", "step.stop_reason", "step.independence.effective_samples"),
    "warnings": lambda one: BETWEEN_WARNINGS.join(one.step.warnings),
}


def encode(records: Sequence[DecodeRecord]) -> str:
    """Return a row per batch and backend; what the record has as null is empty."""
    return text([*RUN, *_MODEL, *_BATCH, *_STEP], (row for one in records for row in _rows(one)))


def encode_samples(records: Sequence[DecodeRecord]) -> str:
    """Return a row per sample, in the order in which they were taken."""
    titles = ["run_id", "model", "batch", "backend", "variant", "index", "step_us", "late"]
    return text(titles, (row for one in records for row in _sample_rows(one)))


def _rows(record: DecodeRecord) -> Iterator[Cells]:
    of_run = [value(record) for value in (*RUN.values(), *_MODEL.values())]
    for result in record.results:
        of_batch = [value(result) for value in _BATCH.values()]
        for one in result.steps:
            yield (*of_run, *of_batch, *(value(one) for value in _STEP.values()))


def _sample_rows(record: DecodeRecord) -> Iterator[Cells]:
    for result in record.results:
        timed = [(one.backend, one.variant, one.step) for one in result.steps]
        if result.work:
            timed.append((WITHOUT, "", result.work))
        for backend, variant, step in timed:
            head = (record.run.id, record.model.name, result.batch, backend, variant)
            late = set(step.late)
            for index, sample in enumerate(step.samples_us):
                yield (*head, index, sample, index in late)
