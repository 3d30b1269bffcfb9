"""The record never changes, becomes the JSON of the design, and is read back or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvrar_bench.documents.record import FORMAT_VERSION, OLDER, RunRecord, upgraded
from nvrar_bench.documents.result import LaunchShape, State
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.figures import replay

from .judge import problem
from .samples import RESULT, WRONG, begin, full

FUZZ = settings.get_profile("fuzz")
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
    with pytest.raises(AttributeError):
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


@FUZZ
@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_record_or_a_usage_error(content: bytes) -> None:
    read_or_refuse(content)


@FUZZ
@given(st.data())
def test_a_record_with_damaged_bytes_is_a_record_or_a_usage_error(data: st.DataObject) -> None:
    content = bytearray(GOLDEN.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        end = start + data.draw(st.integers(0, 8))
        content[start:end] = data.draw(st.binary(max_size=4))
    require_sound(read_or_refuse(bytes(content)))


def require_sound(record: RunRecord | None) -> None:
    """What was accepted is written as it was read, and other readers accept it as well."""
    if record is not None:
        value = record.to_json()
        assert RunRecord.from_json(value) == record
        assert problem(RunRecord, json.loads(json.dumps(value, allow_nan=False))) is None


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


HUGE = [2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), -0.0]
JSON_VALUES = (
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    )
    | st.sampled_from(HUGE)
    | st.sampled_from([10, 200, 5000]).map(nested)
    | st.sampled_from(["", "nan", "\ud800", "x" * 5000, "\0"])
)


def a_place(data: st.DataObject, record: Any) -> tuple[Any, Any]:
    """Some container within the record, and a key that it has."""
    place = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        below = place[key]
        if not (isinstance(below, dict | list) and below and data.draw(st.integers(0, 3))):
            return place, key
        place = below


def retyped(value: Any) -> Any:
    """The same in another type, or nearly."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int | float):
        return other_number(value)
    return [value] if isinstance(value, str) else "a container"


def other_number(value: float) -> Any:
    return float(value) if isinstance(value, int) and abs(value) < 2**60 else str(value)


@FUZZ
@given(st.data())
def test_a_record_with_other_values_is_a_record_or_a_usage_error(data: st.DataObject) -> None:
    record = json.loads(GOLDEN.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        place, key = a_place(data, record)
        change = data.draw(st.sampled_from(["value", "value", "drop", "retype", "add", "repeat"]))
        if change == "drop":
            del place[key]
        elif change == "retype":
            place[key] = retyped(place[key])
        elif change == "repeat" and isinstance(place, list):
            place.extend([place[key]] * 3)
        elif change == "add" and isinstance(place, dict):
            place[data.draw(st.text(max_size=5))] = data.draw(JSON_VALUES)
        else:
            place[key] = data.draw(JSON_VALUES)
        if not record:
            break
    require_sound(read_or_refuse(record))
    try:
        text = json.dumps(record)
    except (ValueError, RecursionError):
        return
    require_sound(read_or_refuse(text))


_ADDED_BY = {
    "1.1": (
        "launch_samples", "late", "precision", "independence", "launches", "arrivals", "stretches",
        "state",
    ),
    "1.2": ("shape",),
    "1.3": ("batch",),
}  # fmt: skip


def of_format(version: str) -> dict[str, Any]:
    """What an earlier nvrar-bench would have written of the same run."""
    value = full().to_json()
    value["format_version"] = version
    for result in value["results"]:
        for added, keys in _ADDED_BY.items():
            for key in keys if version < added else ():
                del result[key]
        if result.get("shape"):
            del result["shape"]["exchange"]
        if version < "1.3":
            del result["check"]["timed"]
    return value


@pytest.mark.parametrize("version", OLDER)
def test_a_record_of_an_earlier_format_is_read(version: str) -> None:
    record = RunRecord.from_json(of_format(version))
    assert record.format_version == FORMAT_VERSION
    assert record.results[0].samples_us == full().results[0].samples_us
    assert record.results[0].latency_us == full().results[0].latency_us
    assert RunRecord.from_json(record.to_json()) == record
    assert replay(record).results[0].launches.count == 1


def test_what_a_first_record_does_not_say() -> None:
    result = RunRecord.from_json(of_format("1.0")).results[0]
    assert (result.launch_samples, result.late, result.arrivals) == ((3,), (), ())
    assert (result.batch, result.check.timed) == (1, True)
    assert (result.stretches, result.state, result.shape) == ((), State(None, None, None, 0), None)
    assert (result.launches.medians_us, result.independence.effective_samples) == ((2.5,), 3.0)


def test_before_1_4_the_exchange_was_doubling() -> None:
    assert RunRecord.from_json(of_format("1.3")).results[0].shape == LaunchShape(
        2, 64, 4096, 2, "doubling", 8192
    )


def test_the_flag_alone_of_an_early_1_1_is_left_out() -> None:
    value = of_format("1.1")
    for result in value["results"]:
        del result["stretches"], result["state"]
        result["yardstick_us"] = [0.1]
    assert RunRecord.from_json(value).results[0].stretches == ()


def test_what_is_wrong_with_an_older_record_is_still_told() -> None:
    value = of_format("1.0")
    del value["results"][1]["samples_us"]
    with pytest.raises(UsageError, match=r"results\[1\].samples_us is missing"):
        RunRecord.from_json(value)


@pytest.mark.parametrize(
    "value", [3, {}, {"format_version": ["1.0"]}, {"format_version": "1.0", "results": [7, {}]}]
)
def test_what_is_no_record_stays_none(value: Any) -> None:
    upgraded(value)
    with pytest.raises(UsageError):
        RunRecord.from_json(value if isinstance(value, dict) else str(value))
