"""Metrics of decode steps; as report/openmetrics.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.report.openmetrics import OF_RUN, Metric, families, in_seconds, text, written

LABELS = ("model", "batch", "backend", "variant", "ranks", "nodes")
_Point = tuple[BatchResult, BackendStep]


def encode(records: Sequence[DecodeRecord]) -> str:
    """Return the metrics of the one record in `records`; the last line is `# EOF`."""
    (record,) = records
    return text(record, OF_DECODE, _of_steps(record))


def _of_steps(record: DecodeRecord) -> Iterator[GaugeMetricFamily]:
    shape = record.topology.ranks, record.topology.nodes
    points = [
        (
            written((record.model.name, result.batch, one.backend, one.variant, *shape)),
            (result, one),
        )
        for result in record.results
        for one in result.steps
    ]
    yield from families(OF_STEP, LABELS, points)


def _figure(name: str, unit: str, help_text: str, key: str) -> Iterator[Metric]:
    """Yield the gauges of a figure: its value, and the ends of its interval."""
    ends = {"": "value", "_ci95_low": "ci95_low", "_ci95_high": "ci95_high"}
    for end, field in ends.items():
        said = help_text if not end else f"End of the 95 % interval of {name}."
        yield Metric(f"decode_{name}{end}", unit, said, _value(key, field, unit == "seconds"))


def _value(key: str, field: str, is_time: bool) -> Callable[[_Point], float | None]:
    def of(point: _Point) -> float | None:
        figure = getattr(point[1], key)
        value: float | None = None if figure is None else getattr(figure, field)
        return in_seconds(value) if is_time else value

    return of


def _latency(name: str, help_text: str) -> Metric:
    return Metric(
        f"decode_step_{name}", "seconds", help_text,
        lambda point: in_seconds(getattr(point[1].step.latency_us, name)),
    )  # fmt: skip


OF_DECODE = (
    *(metric for metric in OF_RUN if metric.name != "run_wrong_results"),
    Metric("run_wrong_results", "", "Results whose check failed.",
           lambda record: sum(one.check.status == "failed"
                              for result in record.results for one in result.steps)),
)  # fmt: skip
OF_STEP = (
    _latency("median", "Median time of a decode step; a sample is the maximum over ranks."),
    _latency("ci95_low", "Lower end of the 95 % interval of the median."),
    _latency("ci95_high", "Upper end of the 95 % interval of the median."),
    Metric("decode_work_median", "seconds", "Median time of the step without all-reduces.",
           lambda point: point[0].work and in_seconds(point[0].work.latency_us.median)),
    *_figure("all_reduce", "seconds", "The step less the step without all-reduces.",
             "all_reduce_us"),
    *_figure("all_reduce_part", "ratio", "The same as a part of the step.", "all_reduce_part"),
    *_figure("tokens_per_second", "", "Tokens of the whole batch per second.", "tokens_per_s"),
    *_figure("speed_up", "ratio", "Steps of the first other backend over these.", "speed_up"),
    Metric("decode_message", "bytes", "Size of each all-reduce, per rank.",
           lambda point: point[0].size_bytes),
    Metric("decode_kv_cache", "bytes", "KV cache that a rank reads in each layer.",
           lambda point: point[0].kv_bytes),
    Metric("decode_samples", "", "Steps timed.", lambda point: point[1].step.samples),
    Metric("decode_wrong_elements", "", "Wrong elements of those compared.",
           lambda point: None if point[1].check.status == "skipped" else point[1].check.wrong),
)  # fmt: skip
