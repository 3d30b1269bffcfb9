"""The record never changes, becomes the JSON of the design, and is read back or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.errors import UsageError
from nvrar_bench.results.record import RunRecord

from .samples import RESULT, WRONG, begin, full

GOLDEN = Path(__file__).parent / "golden" / "record.json"


def read_or_refuse(source: Any) -> RunRecord | None:
    """Give None for a refusal; any error but UsageError ends the test."""
    try:
        return RunRecord.from_json(source)
    except UsageError:
        return None


def test_the_json_has_the_keys_and_values_that_scripts_read() -> None:
    value = full().to_json()
    value["run"].update(id="0" * 32, started_at="then", finished_at="later")
    assert value == json.loads(GOLDEN.read_text())


def test_a_new_record_says_interrupted_until_it_is_finished() -> None:
    record = begin()
    assert (record.run.status, record.run.finished_at) == ("interrupted", None)
    done = record.finished("complete")
    assert done.run.status == "complete"
    assert done.run.finished_at is not None
    times = [datetime.fromisoformat(t) for t in (done.run.started_at, done.run.finished_at)]
    assert times[0] <= times[1]
    assert times[0].utcoffset() == timedelta(0)


def test_every_run_has_its_own_id() -> None:
    assert begin().run.id != begin().run.id


def test_each_step_gives_a_new_record_and_leaves_the_old_one() -> None:
    empty = begin()
    assert empty.with_result(RESULT).with_result(WRONG).results == (RESULT, WRONG)
    assert empty.with_error(UsageError("no")).errors[0].type == "UsageError"
    assert (empty.results, empty.skipped, empty.errors) == ((), (), ())
    with pytest.raises(FrozenInstanceError):
        empty.results = (RESULT,)  # type: ignore[misc]


def test_the_caller_changing_its_settings_changes_no_record() -> None:
    settings = {"seed": 1}
    record = RunRecord.begin(
        command=[],
        version="0",
        settings=settings,
        topology=begin().topology,
        environment=settings,
    )
    settings["seed"] = 2
    assert (record.settings, record.environment) == ({"seed": 1}, {"seed": 1})


def test_the_same_reason_to_skip_is_said_once() -> None:
    record = begin().with_skipped("mpi", "no bfloat16").with_skipped("mpi", "no bfloat16")
    record = record.with_skipped("mpi", "no avg").with_skipped("nccl", "no avg")
    assert [(one.backend, one.reason) for one in record.skipped] == [
        ("mpi", "no bfloat16"),
        ("mpi", "no avg"),
        ("nccl", "no avg"),
    ]


@pytest.mark.parametrize(
    "form",
    [
        RunRecord.to_json,
        lambda record: json.dumps(record.to_json()),
        lambda record: json.dumps(record.to_json(), ensure_ascii=False).encode(),
    ],
)
def test_what_is_written_reads_back_as_itself(form: Callable[[RunRecord], Any]) -> None:
    record = full()
    assert RunRecord.from_json(form(record)) == record


def test_numbers_come_back_in_the_type_of_their_field() -> None:
    value = full().to_json()
    value["results"][0]["samples_us"] = [2, 3]
    value["results"][0]["count"] = 1024.0
    value["results"][0]["latency_us"]["ci95_low"] = 1
    result = RunRecord.from_json(value).results[0]
    numbers = (*result.samples_us, result.count, result.latency_us.ci95_low)
    assert [type(number) for number in numbers] == [float, float, int, float]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    record = full().to_json()
    place: Any = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "other", "format is 'other'; allowed: nvrar-bench.run"),
        (("format_version",), "2.0", "format_version is '2.0'; allowed: 1.1"),
        (("run",), None, "run is None; allowed: object"),
        (("run", "status"), "fine", "run.status is 'fine'; allowed: complete, failed, interrupted"),
        (("run", "status"), ["complete"], "run.status is ['complete']; allowed: complete, "),
        (("run", "user"), "me", "'run.user' is unknown; allowed: id, started_at"),
        (("extra",), 1, "'extra' is unknown; allowed: format, "),
        (("topology", "ranks"), 0, "topology.ranks is 0; allowed: 1 and more"),
        (("topology", "ranks"), 2**63, "topology.ranks is 9223372036854775808; allowed: 92"),
        (("topology", "ranks"), True, "topology.ranks is True; allowed: integer"),
        (("topology", "ranks"), 1.5, "topology.ranks is 1.5; allowed: integer"),
        (("topology", "placement", 1, "rank"), "1", "topology.placement[1].rank is '1'; allowed: "),
        (("results",), {}, "results is {}; allowed: array"),
        (("results", 1, "latency_us", "median"), None, "results[1].latency_us.median is None; "),
        (("results", 0, "latency_us", "p95"), -1, "results[0].latency_us.p95 is -1; allowed: 0 "),
        (("results", 0, "samples_us", 2), 10**400, "results[0].samples_us[2] is 1000"),
        (("results", 0, "dtype"), "float12", "results[0].dtype is 'float12'; allowed: float64, "),
        (
            ("results", 1, "check", "first_wrong", "seen"),
            None,
            "results[1].check.first_wrong.seen ",
        ),
        (("errors", 0), "text", "errors[0] is 'text'; allowed: object"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(
    path: tuple[Any, ...], value: Any, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        RunRecord.from_json(changed(path, value))
    prefix = "this is not a nvrar-bench.run record: "
    assert str(caught.value).startswith(prefix + message)
    assert len(str(caught.value)) < 400


def test_a_missing_key_is_named_by_its_place() -> None:
    value = full().to_json()
    del value["results"][1]["check"]["wrong"]
    with pytest.raises(UsageError, match=r"results\[1\]\.check\.wrong is missing$"):
        RunRecord.from_json(value)


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{",
        "[]",
        "null",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        "9" * 5000,
        "[" * 200_000,
        {"a": float("nan")},
        {"a": object()},
        {(1, 2): 3},
        None,
        3,
    ],
)
def test_what_is_no_json_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match=r"^this is not "):
        RunRecord.from_json(source)


@pytest.mark.parametrize("number", ["1e999", "NaN", "-Infinity"])
def test_what_is_no_number_is_refused_in_the_open_parts_too(number: str) -> None:
    text = json.dumps(full().to_json()).replace('"seed": 3', f'"seed": {number}')
    with pytest.raises(UsageError, match=f"{number} is no JSON number"):
        RunRecord.from_json(text)


def test_a_mapping_that_holds_itself_is_refused() -> None:
    value = full().to_json()
    value["settings"]["self"] = value
    with pytest.raises(UsageError):
        RunRecord.from_json(value)


@given(st.binary())
def test_any_bytes_are_a_record_or_a_usage_error(content: bytes) -> None:
    read_or_refuse(content)


@given(st.data())
def test_a_record_with_damaged_bytes_is_a_record_or_a_usage_error(data: st.DataObject) -> None:
    content = bytearray(GOLDEN.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        end = start + data.draw(st.integers(0, 8))
        content[start:end] = data.draw(st.binary(max_size=4))
    record = read_or_refuse(bytes(content))
    assert record is None or RunRecord.from_json(record.to_json()) == record


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data(), JSON_VALUES)
def test_a_record_with_one_other_value_is_a_record_or_a_usage_error(
    data: st.DataObject, value: Any
) -> None:
    record = json.loads(GOLDEN.read_text())
    place: Any = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = value
    read_or_refuse(record)
