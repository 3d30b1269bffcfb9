"""Records of earlier formats are read as what they meant."""

from __future__ import annotations

from typing import Any

import pytest

from nvrar_bench.documents.record import FORMAT_VERSION, OLDER, RunRecord, upgraded
from nvrar_bench.documents.result import LaunchShape, State
from nvrar_bench.errors import UsageError
from nvrar_bench.statistics.figures import replay

from .samples import full

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
