"""Metrics of decode steps; as report/openmetrics.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily

from nvrar_bench.documents.decode import BackendStep, BatchResult, DecodeRecord
from nvrar_bench.report.openmetrics import OF_RUN, Metric, families, text, written

LABELS = ("model", "batch", "backend", "variant", "ranks", "nodes")


class _Point(NamedTuple):
    """A backend at a batch: paths of metrics begin here."""

    batch: BatchResult
    one: BackendStep


def encode(records: Sequence[DecodeRecord]) -> str:
    """Return the metrics of the one record in `records`; the last line is `# EOF`."""
    (record,) = records
    return text(record, OF_DECODE, _of_steps(record))


def _of_steps(record: DecodeRecord) -> Iterator[GaugeMetricFamily]:
    shape = record.topology.ranks, record.topology.nodes
    points = [
        (
            written((record.model.name, result.batch, one.backend, one.variant, *shape)),
            _Point(result, one),
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
        yield Metric(f"decode_{name}{end}", unit, said, f"one.{key}.{field}")


def _latency(name: str, help_text: str) -> Metric:
    path = f"one.step.latency_us.{name}"
    return Metric(f"decode_step_{name}", "seconds", help_text, path)


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
           "batch.work.latency_us.median"),
    *_figure("all_reduce", "seconds", "The step less the step without all-reduces.",
             "all_reduce_us"),
    *_figure("all_reduce_part", "ratio", "The same as a part of the step.", "all_reduce_part"),
    *_figure("tokens_per_second", "", "Tokens of the whole batch per second.", "tokens_per_s"),
    *_figure("speed_up", "ratio", "Steps of the first other backend over these.", "speed_up"),
    Metric("decode_message", "bytes", "Size of each all-reduce, per rank.", "batch.size_bytes"),
    Metric("decode_kv_cache", "bytes", "KV cache that a rank reads in each layer.",
           "batch.kv_bytes"),
    Metric("decode_samples", "", "Steps timed.", "one.step.samples"),
    Metric("decode_wrong_elements", "", "Wrong elements of those compared.",
           lambda at: None if at.one.check.status == "skipped" else at.one.check.wrong),
)  # fmt: skip
