"""What the options say about when a point has enough samples."""

from __future__ import annotations

import pytest

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.measure_options import PrecisionOptions
from nvrar_bench.settings.planning import stopping_of
from nvrar_bench.settings.values import part
from nvrar_bench.timing.stopping import Stopping


def test_without_options_there_are_200_calls():
    assert stopping_of(None, PrecisionOptions()) == Stopping(200, is_default=True)
    assert stopping_of(200, PrecisionOptions()) == Stopping(200)
    assert stopping_of(7, PrecisionOptions()) == Stopping(7)


def test_precision_has_bounds_of_its_own():
    assert stopping_of(None, PrecisionOptions(precision="1%")) == Stopping(precision=0.01)
    given = PrecisionOptions(precision="2 %", min_samples=6, max_samples=6, max_time=0.5)
    assert stopping_of(None, given) == Stopping(200, 0.02, 6, 6, 0.5)


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.5 %", 0.005), ("0.02", 0.02), (".1", 0.1), ("50%", 0.5)]
)
def test_a_part_is_written_in_percent_or_not(text, value):
    assert part("--precision", text, 0.0001, 0.5) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "0%", "51%", "1", "-1%", "1e-2", "nan", "1%%", "a"])
def test_no_part(text):
    with pytest.raises(
        UsageError, match=f"^--precision '{text}': allowed: 0.01% to 50%, or 0.0001 to 0.5"
    ):
        part("--precision", text, 0.0001, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iters": 0}, "--iters 0: allowed: 1 to 10000000"),
        ({"iters": 9, "precision": "1%"}, "--iters 9 and --precision 1% exclude each other"),
        ({"min_samples": 9}, "--min-samples 9 bounds --precision, which is not given"),
        ({"iters": 9, "max_time": 1.5}, "--max-time 1.5 bounds --precision"),
        ({"precision": "1%", "min_samples": 5}, "--min-samples 5: allowed: 6 to 10000000"),
        ({"precision": "1%", "max_samples": 99}, "--max-samples 99: allowed: 100 to 10000000"),
        ({"precision": "1%", "max_time": 0.0}, "--max-time 0: allowed: more than 0"),
        ({"precision": "1%", "max_time": float("nan")}, "--max-time nan: allowed: more than 0"),
    ],
)
def test_a_mistake_is_named(options, message):
    others = {key: value for key, value in options.items() if key != "iters"}
    with pytest.raises(UsageError) as caught:
        stopping_of(options.get("iters"), PrecisionOptions(**others))
    assert str(caught.value).startswith(message)
