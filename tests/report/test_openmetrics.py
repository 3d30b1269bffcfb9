"""OpenMetrics: to the byte, and as prometheus_client's own parser reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older_format

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Check
from nvrar_bench.report.grid import printable
from nvrar_bench.report.openmetrics import LABELS, OF_RESULT, OF_RUN, encode
from tests.statistics.records import record, result

from .golden_files import full, is_documented, matches
from .nasty import TEXTS, with_text


def samples(run: RunRecord) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(encode([run])):
        yield from ((one.name, one.labels, one.value) for one in family.samples)


def values(run: RunRecord, name: str) -> list[float]:
    return [value for each, _, value in samples(run) if each == f"nvrar_bench_{name}"]


def test_the_text() -> None:
    # Before 0.26 prometheus-client writes 1e+010 for 1e+10.
    assert matches("run.prom", re.sub(r"e\+0(\d\d)$", r"e+\1", encode([full()]), flags=re.M))


def test_the_older_text_format_is_the_same_gauges() -> None:
    """What collectors of text files and the Pushgateway read; `info` would be unknown to them."""
    text = encode([full()])
    older = [one[:3] for family in older_format(text) for one in family.samples]
    assert older == list(samples(full()))
    types = {line.split()[-1] for line in text.splitlines() if line.startswith("# TYPE")}
    assert types == {"gauge"}
    assert text.endswith("\n# EOF\n")


def test_base_units() -> None:
    one = replace(result([[151.015] * 20]), algbw_gb_per_s=0.5)
    (labels,) = [labels for name, labels, _ in samples(record(one)) if "median" in name]
    assert values(record(one), "latency_median_seconds") == [0.000151015]
    assert values(record(one), "algbw_bytes_per_second") == [0.5e9]
    assert tuple(sorted(labels)) == tuple(sorted(LABELS))
    assert (labels["size_bytes"], labels["ranks"], labels["nodes"]) == ("4096", "2", "1")


def test_every_metric_is_written_where_there_is_a_value() -> None:
    mixed = [float(i * 37 % 200 + 1) for i in range(200)]
    one = record(result([mixed]))
    names = {name for name, _, _ in samples(one)}
    wanted = {metric.family([]).name for metric in (*OF_RUN, *OF_RESULT)}
    assert wanted | {"nvrar_bench_run_info"} == names


def test_every_metric_and_label_is_documented() -> None:
    names = {name for name, _, _ in samples(full())}
    names |= {label for _, labels, _ in samples(full()) for label in labels}
    names |= {metric.family([]).name for metric in (*OF_RUN, *OF_RESULT)}
    assert [name for name in names if not is_documented(name)] == []


def test_null_is_left_out() -> None:
    few = record(result([[1.0, 2.0]]))
    assert values(few, "latency_p99_seconds") == values(few, "latency_ci95_low_seconds") == []
    assert values(few, "latency_median_seconds") == [0.0000015]
    assert "ci95" not in encode([few])


@pytest.mark.parametrize(
    ("status", "complete"), [("complete", 1), ("failed", 0), ("interrupted", 0)]
)
def test_an_alert_can_tell_that_a_run_did_not_end_well(status, complete) -> None:
    run = replace(full(), run=replace(full().run, status=status))
    assert values(run, "run_complete") == [complete]
    assert values(run, "run_errors") == [1]


def test_wrong_elements_and_what_was_not_checked() -> None:
    checks = [
        Check("failed", "exact", 8, 3, None, timed=True),
        Check("skipped", None, 0, 0, None, timed=True),
    ]
    run = record(*(result([[1.0]], size, check=c) for size, c in zip((8, 16), checks, strict=True)))
    found = [(labels["size_bytes"], v) for name, labels, v in samples(run) if "wrong_el" in name]
    assert found == [("8", 3)]
    assert values(run, "run_wrong_results") == [1]


def test_the_times_of_the_run() -> None:
    assert values(full(), "run_start_time_seconds") == [1735787045.678]
    begun = replace(full(), run=replace(full().run, started_at="once", finished_at=None))
    assert values(begun, "run_start_time_seconds") == values(begun, "run_end_time_seconds") == []


def test_the_same_point_again_is_another_series() -> None:
    run = record(result([[1.0]]), result([[2.0]]))
    found = [(labels["repeat"], v) for name, labels, v in samples(run) if "median" in name]
    assert found == [("0", 0.000001), ("1", 0.000002)]


@given(text=TEXTS)
def test_any_text_is_read_back(text: str) -> None:
    run = with_text(text)
    shown = printable(text, "utf-8")
    found = list(samples(run))
    keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in found]
    assert len(set(keys)) == len(keys)
    assert {labels["backend"] for _, labels, _ in found if "backend" in labels} == {shown}
    assert [labels["reason"] for name, labels, _ in found if name.endswith("skipped")] == [shown]
