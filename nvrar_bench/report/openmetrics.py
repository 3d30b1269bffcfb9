"""OpenMetrics 1.0, of which Prometheus' older text format takes every line too: gauges alone.

A gauge per statistic, because no sum or mean over a median and the ends of its interval would mean
anything. What is an info metric in OpenMetrics is a gauge of 1 here: collectors of text files and
the Pushgateway refuse the type `info`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest

from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.record import Record, RunRecord
from nvrar_bench.report.csv_rows import at
from nvrar_bench.report.grid import printable
from nvrar_bench.statistics.points import POINT, numbered, point_of

_PREFIX = "nvrar_bench_"
_SECONDS, _RATE = "seconds", "bytes_per_second"
_MICRO, _GIGA = -6, 1e9  # a power of ten, and a factor

_Labels = tuple[str, ...]


@dataclass(frozen=True)
class Metric:
    """A gauge that a run or a result has one of, in base units."""

    name: str
    unit: str  # ends the name; empty for what is counted
    help: str
    of: str | Callable[[Any], float | None]  # its path in the record, or how to find it

    def value(self, one: Any) -> float | None:
        """Return that of a run or a result; None where it is left out."""
        if not isinstance(self.of, str):
            return self.of(one)
        value: float | None = at(self.of)(one)
        if value is not None and self.unit == _RATE:
            return value * _GIGA
        return _in_seconds(value) if self.unit == _SECONDS else value

    def family(self, labels: Sequence[str]) -> GaugeMetricFamily:
        """Return the gauge, without a value yet."""
        return GaugeMetricFamily(_PREFIX + self.name, self.help, labels=labels, unit=self.unit)


def encode(records: Sequence[RunRecord] | Sequence[DecodeRecord]) -> str:
    """Return the metrics of the one record in `records`; the last line is `# EOF`."""
    (record,) = records
    found = (
        _run_info(record),
        *_families(OF_RUN, (), [((), record)]),
        _skipped(record),
        *(_of_steps(record) if isinstance(record, DecodeRecord) else _of_results(record)),
    )
    registry = SimpleNamespace(collect=lambda: found)
    content: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return content.decode("utf-8")


def _run_info(record: Record) -> GaugeMetricFamily:
    facts = record.environment
    said = {
        "id": record.run.id,
        "status": record.run.status,
        "version": record.run.version,
        "started_at": record.run.started_at,
        **{key: facts[key] for key in ("host", "mpi_library") if facts.get(key) is not None},
    }
    family = GaugeMetricFamily(f"{_PREFIX}run_info", "1, with what was run.", labels=list(said))
    family.add_metric(_written(said.values()), 1)
    return family


def _skipped(record: Record) -> GaugeMetricFamily:
    what, labelled = "1 for what did not run, with the reason.", ("backend", "reason")
    family = GaugeMetricFamily(f"{_PREFIX}skipped", what, labels=labelled)
    # Two samples of one series make readers refuse the whole file.
    for values in dict.fromkeys(_written((s.backend, s.reason)) for s in record.skipped):
        family.add_metric(values, 1)
    return family


def _of_results(record: RunRecord) -> Iterator[GaugeMetricFamily]:
    shape = _written((record.topology.ranks, record.topology.nodes))
    points = [((*_written(point_of(result)), *shape), result) for result in record.results]
    # By what is written, so that no two series have the same labels.
    series = [
        ((*labels, str(repeat)), result)
        for repeat, (labels, result) in numbered(points, lambda point: point[0])
    ]
    yield from _families(OF_RESULT, LABELS, series)


def _of_steps(record: DecodeRecord) -> Iterator[GaugeMetricFamily]:
    shape = record.topology.ranks, record.topology.nodes
    points = [
        (
            _written((record.model.name, result.batch, one.backend, one.variant, *shape)),
            SimpleNamespace(batch=result, one=one),
        )
        for result in record.results
        for one in result.steps
    ]
    yield from _families(OF_STEP, STEP_LABELS, points)


def _families(
    metrics: Sequence[Metric], labels: Sequence[str], series: Sequence[tuple[_Labels, Any]]
) -> Iterator[GaugeMetricFamily]:
    """Yield each gauge with its value for each of the series that has one."""
    for metric in metrics:
        family = metric.family(labels)
        for of_series, measured in series:
            value = metric.value(measured)
            if value is not None:
                family.add_metric(of_series, value)
        if family.samples:
            yield family


def _written(values: Any) -> _Labels:
    """Return values as labels."""
    return tuple(printable(str(value), "utf-8") for value in values)


def _time(key: str) -> Callable[[Record], float | None]:
    """Seconds since 1970; None for what is no time, in a record that others wrote."""

    def seconds(record: Record) -> float | None:
        text = getattr(record.run, key)
        try:
            return None if text is None else datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None

    return seconds


def _in_seconds(microseconds: float | None) -> float | None:
    """Convert by decimals: 151.015 us is 0.000151015 s, and not 0.00015101499999999998."""
    if microseconds is None:
        return None
    return float(Decimal(repr(microseconds)).scaleb(_MICRO))


def _checked(key: str) -> Callable[[Any], int | None]:
    return lambda one: None if one.check.status == "skipped" else getattr(one.check, key)


def _wrong_results(record: Record) -> int:
    is_decode = isinstance(record, DecodeRecord)
    checked = (one for r in record.results for one in (r.steps if is_decode else [r]))
    return sum(one.check.status == "failed" for one in checked)


def _figure(name: str, unit: str, help_text: str, key: str) -> Iterator[Metric]:
    """Yield the gauges of a figure: its value, and the ends of its interval."""
    ends = {"": "value", "_ci95_low": "ci95_low", "_ci95_high": "ci95_high"}
    for end, field in ends.items():
        said = help_text if not end else f"End of the 95 % interval of {name}."
        yield Metric(f"decode_{name}{end}", unit, said, f"one.{key}.{field}")


LABELS = (*POINT, "ranks", "nodes", "repeat")
STEP_LABELS = ("model", "batch", "backend", "variant", "ranks", "nodes")

_COMPLETE = "1 if the run came to its end, 0 if it failed or was interrupted."
OF_RUN = (
    Metric("run_complete", "", _COMPLETE, lambda record: int(record.run.status == "complete")),
    Metric("run_start_time", _SECONDS, "When the run began, since 1970.", _time("started_at")),
    Metric("run_end_time", _SECONDS, "When the run ended, since 1970.", _time("finished_at")),
    Metric("run_errors", "", "Errors that ended the run.", lambda record: len(record.errors)),
    Metric("run_results", "", "Results of the run.", lambda record: len(record.results)),
    Metric("run_wrong_results", "", "Results whose check failed.", _wrong_results),
)
_LATENCY = {
    "median": "Median latency of an all-reduce; a sample is the maximum over ranks.",
    "ci95_low": "Lower end of the 95 % interval of the median.",
    "ci95_high": "Upper end of the 95 % interval of the median.",
    "mean": "Mean latency.",
    "min": "Least latency.",
    "max": "Greatest latency.",
    "p95": "95th percentile of latency.",
    "p99": "99th percentile of latency.",
}
_WRONG = "Wrong elements of those compared."
_WORTH = "Independent samples that would tell as much of the median."
OF_RESULT = (
    *(Metric(f"latency_{k}", _SECONDS, said, f"latency_us.{k}") for k, said in _LATENCY.items()),
    Metric("algbw", _RATE, "Size over median latency.", "algbw_gb_per_s"),
    Metric("busbw", _RATE, "algbw x 2(n-1)/n for n ranks.", "busbw_gb_per_s"),
    Metric("samples", "", "Samples taken.", "samples"),
    Metric("batch", "", "Calls of a sample.", "batch"),
    Metric("effective_samples", "", _WORTH, "independence.effective_samples"),
    Metric("launches", "", "Launches of mpirun.", "launches.count"),
    Metric("checked_elements", "", "Elements compared.", _checked("elements")),
    Metric("wrong_elements", "", _WRONG, _checked("wrong")),
    Metric("warnings", "", "Warnings about the result.", lambda result: len(result.warnings)),
)
_STEP_LATENCY = {
    "median": "Median time of a decode step; a sample is the maximum over ranks.",
    "ci95_low": _LATENCY["ci95_low"],
    "ci95_high": _LATENCY["ci95_high"],
}
_WORK = "Median time of the step without all-reduces."
_ADDED = "The step less the step without all-reduces."
_MESSAGE = "Size of each all-reduce, per rank."
_KV_CACHE = "KV cache that a rank reads in each layer."
OF_STEP = (
    *(
        Metric(f"decode_step_{key}", _SECONDS, said, f"one.step.latency_us.{key}")
        for key, said in _STEP_LATENCY.items()
    ),
    Metric("decode_work_median", _SECONDS, _WORK, "batch.work.latency_us.median"),
    *_figure("all_reduce", _SECONDS, _ADDED, "all_reduce_us"),
    *_figure("all_reduce_part", "ratio", "The same as a part of the step.", "all_reduce_part"),
    *_figure("tokens_per_second", "", "Tokens of the whole batch per second.", "tokens_per_s"),
    *_figure("speed_up", "ratio", "Steps of the first other backend over these.", "speed_up"),
    Metric("decode_message", "bytes", _MESSAGE, "batch.size_bytes"),
    Metric("decode_kv_cache", "bytes", _KV_CACHE, "batch.kv_bytes"),
    Metric("decode_samples", "", "Steps timed.", "one.step.samples"),
    Metric("decode_wrong_elements", "", _WRONG, lambda at: _checked("wrong")(at.one)),
)
