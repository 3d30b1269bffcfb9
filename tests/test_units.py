"""Sizes as people write them, and numbers as the report shows them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.errors import UsageError
from nvrar_bench.units import (
    MAX_BYTES,
    format_bandwidth,
    format_latency,
    format_ratio,
    format_size,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("100", 100),
        ("100B", 100),
        ("128K", 131072),
        ("128k", 131072),
        ("128KB", 131072),
        ("128KiB", 131072),
        ("1.5M", 1572864),
        ("0.25K", 256),
        ("2G", 2**31),
        ("1T", 2**40),
        (" 4096 ", 4096),
        ("9223372036854775807", MAX_BYTES),
    ],
)
def test_sizes_that_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        *("", "K", "-1", "+1", "1e6", "1 K", "1.5", "1.1K", "128Q", "128Ki B", "0x10", "1,5K"),
        *("nan", "inf", "9223372036854775808", "8388608T", "9" * 100_000, "1." + "0" * 5000),
        *("\u0663", "1\u212a"),  # a digit and a letter of other scripts
    ],
)
def test_sizes_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_size(text, option="--min")
    assert str(caught.value).startswith(f"--min {text!r} is not ")
    assert "allowed: a whole number of bytes" in str(caught.value)


@given(st.text())
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert 0 <= parse_size(text) <= MAX_BYTES


@given(st.integers(0, MAX_BYTES))
def test_a_written_size_reads_back_as_itself(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 1023), st.sampled_from("KMGT"))
def test_a_whole_multiple_of_a_unit_is_written_in_that_unit(number: int, unit: str) -> None:
    assert format_size(parse_size(f"{number}{unit}")) == f"{number}{unit}"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1000, "1000"),
        (1024, "1K"),
        (1025, "1025"),
        (1280, "1.25K"),
        (1536, "1.5K"),
        (1792, "1.75K"),
        (1664, "1664"),
        (1228800, "1200K"),
        (1572864, "1.5M"),
        (2**40, "1T"),
    ],
)
def test_sizes_as_written(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00"),
        (1.234e-9, "0.0012"),
        (0.1e-6, "0.10"),
        (2.534e-6, "2.53"),
        (99.994e-6, "99.99"),
        (99.996e-6, "100.0"),
        (0.0125, "12500.0"),
    ],
)
def test_latency_is_in_microseconds(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text


def test_bandwidth_is_in_gigabytes_of_a_thousand() -> None:
    assert format_bandwidth(12.345e9) == "12.35"
    assert format_bandwidth(400e9) == "400.0"


def test_a_ratio_is_a_number_of_times() -> None:
    assert format_ratio(1.896) == "1.90x"
