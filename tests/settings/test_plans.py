"""A sweep as data: which cases, in which order, and which mistakes are named."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import AXES, Case
from nvrar_bench.settings.plans import MAX_SIZES, build_plan, sizes_from_range


def test_cases_go_through_dtype_op_and_placement_outside_and_size_inside() -> None:
    plan = build_plan(
        [8, 16],
        dtypes=["float32", "int64"],
        ops=["sum", "max"],
        placements=["in_place", "out_of_place"],
    )
    seen = [(case.dtype, case.op, case.placement, case.size_bytes) for case in plan]
    assert seen == [
        (dtype, op, placement, size)
        for dtype in ("float32", "int64")
        for op in ("sum", "max")
        for placement in ("in_place", "out_of_place")
        for size in (8, 16)
    ]


def test_a_case_holds_every_choice() -> None:
    plan = build_plan(
        [1024],
        ["bfloat16"],
        ["avg"],
        ["in_place"],
        ["private"],
        ["packet"],
        ["rounding"],
    )
    assert plan.cases == (
        Case(1024, 512, "bfloat16", "avg", "in_place", "private", "packet", "rounding"),
    )


def test_defaults() -> None:
    assert build_plan([4]).cases == (
        Case(4, 1, "float32", "sum", "out_of_place", "symmetric", "auto", "exact"),
    )


def test_cases_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        build_plan([4]).cases[0].count = 2  # type: ignore[misc]


def test_a_size_is_rounded_down_to_whole_elements() -> None:
    (case,) = build_plan([1003], ["float64"])
    assert (case.size_bytes, case.count) == (1000, 125)


def test_sizes_that_round_to_the_same_count_are_one_case() -> None:
    assert [case.count for case in build_plan([8, 9, 11, 12, 8])] == [2, 3]


def test_counts_are_elements_of_every_dtype() -> None:
    plan = build_plan(dtypes=["int8", "float64"], counts=[3, 5])
    assert [(case.count, case.size_bytes) for case in plan] == [(3, 3), (5, 5), (3, 24), (5, 40)]


def test_all_stands_for_every_dtype_and_op() -> None:
    plan = build_plan([64], ["all"], ["all"])
    assert {(case.dtype, case.op) for case in plan} == {(d, o) for d in DTYPES for o in OPS}
    assert len(plan) == len(DTYPES) * len(OPS)


def test_wrap_goes_with_sums_and_products_of_integers() -> None:
    plan = build_plan([64], ["all"], ["all"], check_modes=["exact", "wrap"])
    assert len(plan) == len(DTYPES) * len(OPS) + 6 * 2
    wrapping = {(case.dtype, case.op) for case in plan if case.check_mode == "wrap"}
    integers = {"int8", "uint8", "int32", "uint32", "int64", "uint64"}
    assert wrapping == {(dtype, op) for dtype in integers for op in ("sum", "prod")}


@pytest.mark.parametrize("modes", [["wrap"], ["exact", "wrap"]])
@pytest.mark.parametrize(("dtype", "op"), [("float32", "sum"), ("int8", "max"), ("int8", "avg")])
def test_wrap_where_nothing_can_is_refused(modes: list[str], dtype: str, op: str) -> None:
    with pytest.raises(UsageError, match=r"--check-mode wrap .* --dtype int8, .* --op sum"):
        build_plan([64], [dtype], [op], check_modes=modes)


def test_other_check_modes_in_place_of_those_planned() -> None:
    plan = build_plan([8], ["float32", "int8"], check_modes=["exact", "rounding"])
    modes = [(case.dtype, case.check_mode) for case in plan.checked_by(["rounding", "wrap"])]
    assert modes == [("float32", "rounding"), ("int8", "rounding"), ("int8", "wrap")]


def test_a_choice_given_twice_counts_once() -> None:
    assert len(build_plan([64], ["int8", "int8"], protocols=["signal", "signal"])) == 1


@pytest.mark.parametrize(
    ("argument", "option"),
    [
        ("dtypes", "dtype"),
        ("ops", "op"),
        ("placements", "placement"),
        ("buffers", "buffers"),
        ("protocols", "protocol"),
        ("check_modes", "check"),
    ],
)
@pytest.mark.parametrize("value", ["wrong", "", "SUM"])
def test_a_bad_choice_is_named_with_what_is_allowed(argument: str, option: str, value: str) -> None:
    chosen: dict[str, Any] = {argument: [value]}
    with pytest.raises(UsageError) as caught:
        build_plan([64], **chosen)
    allowed = ", ".join(AXES[option].allowed)
    name = "check-mode" if option == "check" else option
    assert str(caught.value).startswith(f"--{name} {value!r} is not allowed; allowed: {allowed}")


def test_only_dtype_and_op_take_all() -> None:
    with pytest.raises(UsageError, match="--protocol 'all' is not allowed"):
        build_plan([64], protocols=["all"])


def test_an_empty_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="--dtype is empty; allowed: float64, "):
        build_plan([64], [])


def test_no_size_is_refused() -> None:
    with pytest.raises(UsageError, match="--sizes is empty"):
        build_plan([])


@pytest.mark.parametrize("size", [0, -8, 7, 2**63])
def test_a_size_below_one_element_names_option_size_and_dtype(size: int) -> None:
    with pytest.raises(UsageError) as caught:
        build_plan([size], ["float64"], size_key="min")
    assert str(caught.value).startswith("--min ")
    assert "--dtype float64; allowed: 8 bytes (one element) and more" in str(caught.value)


@pytest.mark.parametrize("count", [0, -1, 2**62])
def test_a_count_that_is_not_allowed_is_named(count: int) -> None:
    with pytest.raises(UsageError, match=f"--counts {count} is not allowed"):
        build_plan(counts=[count])


def test_the_largest_count_is_allowed() -> None:
    assert build_plan(dtypes=["int8"], counts=[2**63 - 1]).cases[0].count == 2**63 - 1


def test_errors_spell_the_key_as_it_was_given() -> None:
    with pytest.raises(UsageError, match=r"^op 'xor' is not allowed"):
        build_plan([64], ops=["xor"], spell=str)


def test_doubling_is_the_default() -> None:
    assert sizes_from_range(128, 1024) == (128, 256, 512, 1024)


@pytest.mark.parametrize(
    ("minimum", "maximum", "factor", "sizes"),
    [
        (100, 1000, 2, (100, 200, 400, 800)),
        (100, 100, 2, (100,)),
        (1024, 4096, 1.5, (1024, 1536, 2304, 3456)),
        (1000, 1400, 1.1, (1000, 1100, 1210, 1331)),
        (1, 6, 1.5, (1, 2, 3, 5)),
        (1, 2**62, 2**31, (1, 2**31, 2**62)),
        (1, 100, 10**400, (1,)),
    ],
)
def test_ranges_by_factor(minimum: int, maximum: int, factor: float, sizes: tuple[int]) -> None:
    assert sizes_from_range(minimum, maximum, factor) == sizes


@pytest.mark.parametrize(
    ("minimum", "maximum", "step", "sizes"),
    [(100, 350, 100, (100, 200, 300)), (100, 300, 100, (100, 200, 300)), (5, 9, 2**62, (5,))],
)
def test_ranges_by_step(minimum: int, maximum: int, step: int, sizes: tuple[int]) -> None:
    assert sizes_from_range(minimum, maximum, step=step) == sizes


@given(st.integers(1, 2**40), st.integers(1, 2**40), st.floats(1.01, 100))
def test_a_range_rises_from_its_minimum_and_ends_below_its_maximum(
    minimum: int, maximum: int, factor: float
) -> None:
    assume(minimum <= maximum)
    sizes = sizes_from_range(minimum, maximum, factor)
    assert sizes[0] == minimum
    assert all(low < high for low, high in pairwise(sizes))
    assert sizes[-1] <= maximum < sizes[-1] * factor + factor


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 10), (-1, 10), (11, 10), (1, 2**63)])
def test_a_range_that_is_empty_names_both_ends(minimum: int, maximum: int) -> None:
    with pytest.raises(UsageError, match=r"^--min \S+ --max \S+: allowed: 1 <= min <= max"):
        sizes_from_range(minimum, maximum)


@pytest.mark.parametrize("factor", [1, 0, -2, 0.5, float("nan"), float("inf")])
def test_a_factor_that_does_not_grow_is_named(factor: float) -> None:
    with pytest.raises(UsageError, match=rf"^--factor {factor} is not allowed; allowed: a number"):
        sizes_from_range(1, 10, factor)


@pytest.mark.parametrize("step", [0, -1])
def test_a_step_that_does_not_grow_is_named(step: int) -> None:
    with pytest.raises(UsageError, match=rf"^--step {step} is not allowed"):
        sizes_from_range(1, 10, step=step)


def test_factor_and_step_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--factor and --step exclude each other"):
        sizes_from_range(1, 10, 2, 1)


def test_the_number_of_sizes_is_bounded() -> None:
    assert len(sizes_from_range(1, MAX_SIZES, step=1)) == MAX_SIZES
    with pytest.raises(UsageError, match=f"^--step 1 gives more than {MAX_SIZES} sizes"):
        sizes_from_range(1, MAX_SIZES + 1, step=1)
    with pytest.raises(UsageError, match=r"^--factor 1.0001 gives more than"):
        sizes_from_range(1024, 2**40, 1.0001)
