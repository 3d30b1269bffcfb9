"""Exact problems are exact in every order, bounds hold in every order, and defects are caught."""

import json
from fractions import Fraction

import numpy as np
import pytest

from nvrar_bench.datatypes import DTYPES, OPS, can_wrap
from nvrar_bench.errors import UsageError
from nvrar_bench.verify import (
    CANARY_BYTES,
    Expected,
    KnownReduction,
    canary_intact,
    check,
    poison,
    write_canary,
)
from nvrar_bench.verify.recipe import approximately_normal, draw, mix

FLOATS = [name for name, row in DTYPES.items() if row.is_float]
INTEGERS = [name for name, row in DTYPES.items() if not row.is_float]
RANKS = [*range(1, 18), 64, 300]
BLOCK = 16384
COMBINE = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "avg": np.add,
}


def gather(problem, count):
    """Every rank's inputs."""
    return [problem.inputs(rank, count) for rank in range(problem.ranks)]


def sequential(combine, values, rng):
    result = values[0]
    for value in values[1:]:
        result = combine(result, value)
    return result


def pairwise(combine, values, rng):
    while len(values) > 1:
        pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2 :]
    return values[0]


def random_tree(combine, values, rng):
    values = list(values)
    while len(values) > 1:
        left = values.pop(rng.integers(len(values)))
        right = values.pop(rng.integers(len(values)))
        values.append(combine(left, right))
    return values[0]


ORDERS = [sequential, pairwise, random_tree]


def float_means(values, order, rng):
    """The mean as implementations compute it, every step rounded to the dtype."""
    dtype = values[0].dtype
    ranks = np.array([len(values)]).astype(dtype)
    reciprocal = np.array([1 / len(values)]).astype(dtype)
    total = order(np.add, values, rng)
    if np.isfinite(ranks).all() and ranks[0] == len(values):
        yield total / ranks
    yield (total.astype(np.float64) / len(values)).astype(dtype)
    yield total * reciprocal
    yield order(np.add, [value * reciprocal for value in values], rng)


def wide_float_means(values, order, rng):
    """The mean with an accumulator of twice the width, rounded once."""
    dtype = values[0].dtype
    wide = np.float32 if dtype.itemsize < 4 else np.float64
    widened = [value.astype(wide) for value in values]
    reciprocal = wide(1) / wide(len(values))
    yield (order(np.add, [value * reciprocal for value in widened], rng)).astype(dtype)
    yield (order(np.add, widened, rng) * reciprocal).astype(dtype)
    yield (order(np.add, widened, rng) / wide(len(values))).astype(dtype)


def integer_mean(values, order, rng):
    total = order(np.add, values, rng)
    means = [abs(int(t)) // len(values) * (1 if t >= 0 else -1) for t in total]
    return np.array(means, dtype=object)


def all_reduces(problem, values, rng):
    """Everything a correct implementation may return."""
    for order in ORDERS:
        if problem.op != "avg":
            yield order(COMBINE[problem.op], values, rng)
        elif problem.dtype in FLOATS:
            yield from float_means(values, order, rng)
            yield from wide_float_means(values, order, rng)
        else:
            yield integer_mean(values, order, rng).astype(values[0].dtype)


# Means without exact inputs: the odd part of the number of ranks takes all digits there are.
NO_EXACT_MEAN = {
    "float8_e4m3": {17, 300},
    "float8_e5m2": {9, 11, 13, 15, 17, 300},
}


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_results_do_not_depend_on_the_order(dtype, op, ranks):
    problem = KnownReduction(dtype, op, ranks, "exact", seed=ranks)
    falls_back = op == "avg" and ranks in NO_EXACT_MEAN.get(dtype, ())
    assert problem.mode_used == ("rounding" if falls_back else "exact")
    count = 50
    expected = problem.expected(count)
    assert (expected.tolerance is not None) == falls_back
    rng = np.random.default_rng(ranks)
    for result in all_reduces(problem, gather(problem, count), rng):
        assert check(result, expected, count, 0).first_wrong is None


def exactly(array):
    """The same numbers as Python's, which neither round nor wrap."""
    plain = array.astype(np.float64).tolist() if array.dtype.kind not in "iu" else array.tolist()
    return np.array([Fraction(number) for number in plain], dtype=object)


@pytest.mark.parametrize("ranks", [2, 3, 8, 17, 64])
@pytest.mark.parametrize("op", ["sum", "prod"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_partial_result_is_representable(dtype, op, ranks):
    """Step by step beside exact arithmetic: a rounding that a later one undoes would show here."""
    problem = KnownReduction(dtype, op, ranks, "exact", seed=3)
    values = gather(problem, 12)
    truth = [exactly(value) for value in values]

    def combine(left, right):
        partial, true = COMBINE[op](left[0], right[0]), COMBINE[op](left[1], right[1])
        assert (exactly(partial) == true).all()
        return partial, true

    rng = np.random.default_rng(5)
    result, _ = random_tree(combine, list(zip(values, truth, strict=True)), rng)
    assert check(result, problem.expected(12), 12, 0).status == "passed"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["sum", "prod", "avg"])
def test_no_element_of_any_rank_is_neutral_where_there_is_room(dtype, op):
    """One missing or doubled contribution is then wrong everywhere, also in a buffer of one."""
    problem = KnownReduction(dtype, op, 4, "exact", seed=1)
    expected = problem.expected(500)
    values = gather(problem, 500)
    scale = 4 if op == "avg" else 1
    for rank in range(4):
        without = sequential(COMBINE[op], values[:rank] + values[rank + 1 :], None)
        twice = COMBINE[op](sequential(COMBINE[op], values, None), values[rank])
        for defect in (without, twice):
            received = (defect.astype(np.float64) / scale).astype(defect.dtype)
            assert check(received, expected, 500, rank).wrong == 500


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["min", "max"])
def test_each_rank_in_turn_holds_the_extremum_alone(dtype, op):
    problem = KnownReduction(dtype, op, 5, "exact", seed=1)
    values = gather(problem, 1000)
    holders = sum((value == problem.expected(1000).value).astype(int) for value in values)
    assert (holders == 1).all()
    assert all((value == problem.expected(1000).value).sum() > 100 for value in values)


@pytest.mark.parametrize("ranks", [1, 2, 5, 17, 64])
@pytest.mark.parametrize("dtype", FLOATS)
def test_no_order_of_an_exact_product_leaves_the_normal_range(dtype, ranks):
    """Hardware may flush subnormal numbers to zero."""
    values = np.abs(
        [
            v.astype(np.float64)
            for v in gather(KnownReduction(dtype, "prod", ranks, "exact", 1), 2000)
        ]
    )
    row = DTYPES[dtype]
    smallest_normal = row.smallest_subnormal / (2 * row.epsilon)
    assert (np.maximum(values, 1).prod(axis=0) <= row.max_value).all()
    assert (np.minimum(values, 1).prod(axis=0) >= smallest_normal).all()


@pytest.mark.parametrize("ranks", [1, 2, 3, 6, 7, 8, 16, 17])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_differ_from_index_to_index(dtype, op, ranks):
    """Otherwise a misplaced result would be a right one."""
    count = 2000
    value = KnownReduction(dtype, op, ranks, "exact", seed=1).expected(count).value
    _, copies = np.unique(value.astype(np.float64), return_counts=True)
    assert copies.max() <= 0.55 * count


def reduce(problem, values):
    return next(all_reduces(problem, values, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("dtype", "mode", "ranks"),
    [
        (dtype, mode, ranks)
        for dtype, row in DTYPES.items()
        for ranks in (2, 3, 6, 8, 16, 64, 256)
        for mode in ("exact", "rounding", "wrap")
        # Of floats, 64 ranks are like any others; integers have no room for so many as 256.
        if dtype in INTEGERS or ranks < 256
        # From a few ranks on the rounding bound of 8-bit floats is as wide as the data.
        if mode == "exact" or ranks * row.epsilon < 0.3
    ],
)
@pytest.mark.parametrize("op", OPS)
def test_misplaced_stale_and_missing_elements_are_caught(dtype, op, mode, ranks):
    if mode == "wrap" and not can_wrap(dtype, op):
        return
    if op == "avg" and dtype in INTEGERS and ranks > DTYPES[dtype].exact_limit:
        return  # every mean is 0
    count = 64 * 16
    problem = KnownReduction(dtype, op, ranks, mode, seed=11)
    expected = problem.expected(count)
    right = reduce(problem, gather(problem, count))
    assert check(right, expected, count, 0).status == "passed"

    other_seed = KnownReduction(dtype, op, ranks, mode, seed=12)
    stale = right.copy()
    stale[64:128] = reduce(other_seed, gather(other_seed, count))[64:128]
    swapped = right.copy()
    swapped[:64], swapped[64:128] = right[64:128], right[:64]
    for defect in (stale, swapped, np.roll(right, 1), np.roll(right, -1)):
        assert check(defect, expected, count, 0).status == "failed"
    tail = right.copy()
    poison(tail[-1:])
    if mode == "exact" or dtype in FLOATS:
        assert check(tail, expected, count, 0).first_wrong["index"] == count - 1


@pytest.mark.parametrize("ranks", [2, 3, 6, 8, 16, 64])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_missing_and_doubled_contributions_are_caught(dtype, op, ranks):
    count = 2000
    problem = KnownReduction(dtype, op, ranks, "exact", seed=11)
    expected = problem.expected(count)
    values = gather(problem, count)
    for rank in {0, ranks // 2, ranks - 1}:
        others = values[:rank] + values[rank + 1 :]
        missing = sequential(COMBINE[op], others, None)
        with np.errstate(over="ignore"):
            doubled = COMBINE[op](sequential(COMBINE[op], values, None), values[rank])
        # Twice the same operand leaves an extremum as it is: nothing to catch.
        defects = [missing] if op in ("min", "max") else [missing, doubled]
        for defect in defects:
            if op == "avg":
                wide = defect.astype(np.float64) / ranks
                defect = (wide if dtype in FLOATS else np.trunc(wide)).astype(defect.dtype)
            assert check(defect, expected, count, rank).status == "failed"


@pytest.mark.parametrize("mode", ["exact", "rounding"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_longer_buffer_begins_as_a_shorter_one(dtype, op, mode):
    problem = KnownReduction(dtype, op, 3, mode, seed=2)
    longest = 2 * BLOCK + 5
    inputs, expected = problem.inputs(2, longest), problem.expected(longest)
    assert inputs.dtype == DTYPES[dtype].numpy
    for count in (0, 1, 1000, BLOCK, BLOCK + 1, longest):
        assert np.array_equal(problem.inputs(2, count), inputs[:count])
        shorter = problem.expected(count)
        assert np.array_equal(shorter.value, expected.value[:count])
        if expected.tolerance is not None:
            assert np.array_equal(shorter.tolerance, expected.tolerance[:count])


def test_the_inputs_depend_on_seed_rank_and_index_across_blocks():
    values = [
        KnownReduction("float64", "sum", 4, "exact", seed).inputs(rank, 3 * BLOCK)
        for seed in (1, 2, 2**64 - 1)
        for rank in range(4)
    ]
    assert len(np.unique(np.concatenate(values))) == 12 * 3 * BLOCK


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8, 17, 64])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_rounding_bounds_hold_in_every_order(dtype, op, ranks):
    problem = KnownReduction(dtype, op, ranks, "rounding", seed=4)
    count = 400
    expected = problem.expected(count)
    assert np.isfinite(expected.value.astype(np.float64)).all()
    rng = np.random.default_rng(6)
    values = gather(problem, count)
    for result in all_reduces(problem, values, rng):
        assert check(result, expected, count, 0).first_wrong is None
    if op in ("sum", "prod") and DTYPES[dtype].itemsize < 4:
        wide = pairwise(COMBINE[op], [value.astype(np.float32) for value in values], rng)
        assert check(wide.astype(values[0].dtype), expected, count, 0).first_wrong is None


@pytest.mark.parametrize(
    ("dtype", "ranks"),
    [(dtype, ranks) for dtype in FLOATS for ranks in (2, 3)]
    + [(dtype, ranks) for dtype in FLOATS[:5] for ranks in (4, 5)]
    + [(dtype, ranks) for dtype in FLOATS[:3] for ranks in (17, 64)],
)
@pytest.mark.parametrize("op", OPS)
def test_rounding_bounds_catch_a_missing_rank(dtype, op, ranks):
    problem = KnownReduction(dtype, op, ranks, "rounding", seed=4)
    count = 2000
    expected = problem.expected(count)
    values = [value.astype(np.float64) for value in gather(problem, count)]
    for rank in range(ranks):
        missing = sequential(COMBINE[op], values[:rank] + values[rank + 1 :], None)
        missing = missing / ranks if op == "avg" else missing
        received = missing.astype(DTYPES[dtype].numpy)
        assert check(received, expected, count, 0).wrong > count / 20 / ranks


def test_the_sum_bound_by_hand():
    problem = KnownReduction("float16", "sum", 3, "rounding", seed=4)
    magnitude = sum(np.abs(value.astype(np.float64)) for value in gather(problem, 10))
    bound = 2 * (2.0**-11 + 2.0**-53) * magnitude
    assert problem.expected(10).tolerance == pytest.approx(bound, rel=1e-12)


def test_the_mean_bound_by_hand():
    """A reciprocal, a product and two sums round; each of the three products may underflow."""
    problem = KnownReduction("float16", "avg", 3, "rounding", seed=4)
    magnitude = sum(np.abs(value.astype(np.float64)) for value in gather(problem, 10)) / 3
    u, reference = 2.0**-11, 2.0**-53
    relative = (1 + u) * (1 + u) * (1 + 2 * (u + reference)) - 1
    bound = relative * magnitude + 3 * 2.0**-24
    assert problem.expected(10).tolerance == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_no_order_overflows(dtype):
    """The worst order adds all of one sign first."""
    for op, fold in (("sum", np.sum), ("prod", np.prod)):
        problem = KnownReduction(dtype, op, 3000, "rounding", seed=1)
        values = np.abs([value.astype(np.float64) for value in gather(problem, 5)])
        worst = fold(np.maximum(values, 1.0) if op == "prod" else values, axis=0)
        assert (worst <= DTYPES[dtype].max_value).all()


@pytest.mark.parametrize("mode", ["exact", "rounding"])
@pytest.mark.parametrize("ranks", [*RANKS, 126, 127, 128, 255, 256, 1000])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_no_order_of_any_ranks_takes_integers_out_of_their_range(dtype, ranks, mode):
    """Libraries differ in what becomes of an overflow, so that none may come to pass."""
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max
    for op, fold in (("sum", np.sum), ("avg", np.sum), ("prod", np.prod)):
        problem = KnownReduction(dtype, op, ranks, mode, seed=ranks)
        values = np.array([value.astype(object) for value in gather(problem, 40)])
        sizes = np.maximum(np.abs(values), 1) if op == "prod" else np.abs(values)
        worst = fold(sizes, axis=0)  # of all orders and of all that some of the ranks can make
        assert max(worst) <= min(highest, -lowest or highest), op


@pytest.mark.parametrize("mode", ["exact", "rounding"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("ranks", [4, 300])
def test_sums_that_saturate_are_right(dtype, ranks, mode):
    problem = KnownReduction(dtype, "sum", ranks, mode, seed=3)
    lowest, highest = np.iinfo(dtype).min, np.iinfo(dtype).max

    def saturating(a, b):
        return np.clip(a.astype(np.int64) + b, lowest, highest).astype(dtype)

    rng = np.random.default_rng(1)
    for order in ORDERS:
        result = order(saturating, gather(problem, 500), rng)
        assert check(result, problem.expected(500), 500, 0).wrong == 0


@pytest.mark.parametrize("op", ["sum", "prod"])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_more_ranks_than_the_range_has_room_for_take_turns(dtype, op):
    """A rank that is left out shows at some of the indices, and results differ from each other."""
    count, neutral = 2000, 0 if op == "sum" else 1
    problem = KnownReduction(dtype, op, 256, "exact", seed=1)
    values = np.array(gather(problem, count)).astype(np.int64)
    busy = np.abs(values) != neutral
    assert not busy.all(axis=0).any()
    assert busy.any(axis=1).all()
    assert len(np.unique(problem.expected(count).value)) > 3


@pytest.mark.parametrize("ranks", [2, 8, 300])
@pytest.mark.parametrize("op", ["sum", "prod"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_wrap_when_asked_for(dtype, op, ranks):
    problem = KnownReduction(dtype, op, ranks, "wrap", seed=8)
    assert problem.mode_used == "wrap"
    numpy = DTYPES[dtype].numpy
    exact = np.array([value.astype(object) for value in gather(problem, 20)])
    fold = exact.sum(axis=0) if op == "sum" else exact.prod(axis=0)
    wrapped = np.array([int(v) % 2**64 for v in fold], np.uint64).astype(numpy)
    expected = problem.expected(20)
    assert expected.tolerance is None
    assert expected.value.tolist() == wrapped.tolist()
    assert len(set(wrapped.tolist())) > 10
    assert (fold != wrapped.astype(object)).any()


@pytest.mark.parametrize("ranks", [1, 2, 7, 300])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_poison_is_never_expected(dtype, op, ranks):
    problem = KnownReduction(dtype, op, ranks, "exact", seed=1)
    received = np.zeros(5000, DTYPES[dtype].numpy)
    poison(received)
    result = check(received, problem.expected(5000), 5000, 0)
    assert (result.status, result.wrong) == ("failed", 5000)


def test_canary():
    view = np.zeros(CANARY_BYTES, np.uint8)
    write_canary(view)
    assert canary_intact(view)
    for place in range(CANARY_BYTES):
        for byte in (0, 0xFF, int(view[place]) ^ 1):
            hurt = view.copy()
            hurt[place] = byte
            assert canary_intact(hurt) == (byte == view[place])
    assert not canary_intact(np.roll(view, 1))
    assert 0 not in view


def test_canaries_of_other_lengths():
    view = np.zeros(3 * CANARY_BYTES + 1, np.uint8)
    write_canary(view)
    assert canary_intact(view)
    view[-1] ^= 1
    assert not canary_intact(view)


def test_the_first_wrong_element_is_named():
    problem = KnownReduction("int32", "sum", 2, "exact", seed=1)
    expected = problem.expected(100)
    received = expected.value.copy()
    received[[41, 77]] += 1
    result = check(received, expected, 100, rank=1)
    value = int(expected.value[41])
    assert result.first_wrong == {"rank": 1, "index": 41, "expected": value, "seen": value + 1}
    assert (result.status, result.mode, result.elements) == ("failed", "exact", 100)
    assert result.wrong == 2
    assert check(received, expected, 41, rank=1).status == "passed"


@pytest.mark.parametrize("mode", ["exact", "rounding"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seen", [np.nan, np.inf, -np.inf])
def test_numbers_that_json_has_not_are_wrong_and_strings(dtype, mode, seen):
    expected = KnownReduction(dtype, "sum", 2, mode, seed=1).expected(10)
    received = expected.value.astype(DTYPES[dtype].numpy)
    received[3] = seen
    # e4m3 has no infinity: it stores NaN.
    stored = str(float(received[3]))
    result = check(received, expected, 10, rank=0)
    assert (result.wrong, result.first_wrong["seen"]) == (1, stored)
    assert json.loads(json.dumps(result.first_wrong, allow_nan=False)) == result.first_wrong


def test_just_outside_the_tolerance_is_wrong():
    expected = KnownReduction("float32", "sum", 4, "rounding", seed=1).expected(50)
    inside = expected.value + expected.tolerance * 0.99
    outside = expected.value - expected.tolerance * 1.01
    assert check(inside, expected, 50, 0).wrong == 0
    assert check(outside, expected, 50, 0).wrong == 50
    assert check(outside, expected, 50, 0).mode == "rounding"


def test_zero_has_no_sign():
    expected = Expected(np.zeros(3, np.float32), None)
    assert check(-expected.value, expected, 3, 0).status == "passed"


def test_nothing_to_compare_passes():
    expected = KnownReduction("float32", "sum", 2, "rounding", seed=1).expected(0)
    assert check(np.empty(0, np.float32), expected, 0, 0).status == "passed"


@pytest.mark.parametrize(
    ("received", "count", "message"),
    [
        (np.zeros((2, 2), np.float32), 4, "dimensions"),
        (np.zeros(3, np.float32), 4, "0 to 3"),
        (np.zeros(9, np.float32), 5, "0 to 4"),
        (np.zeros(4, np.float32), -1, "0 to 4"),
        (np.zeros(4, np.int32), 4, "float32"),
    ],
)
def test_what_cannot_be_compared(received, count, message):
    with pytest.raises(UsageError, match=message):
        check(received, Expected(np.zeros(4, np.float32), None), count, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("half", "sum", 2, "exact"), "'half'"),
        (("int8", "xor", 2, "exact"), "'xor'"),
        (("int8", "sum", 0, "exact"), "ranks is 0"),
        (("int8", "sum", 2, "fast"), "'fast'.*exact, rounding, wrap"),
        (("float32", "sum", 2, "wrap"), "wrap is of sums and products of integers.*float32 sum"),
        (("int8", "max", 2, "wrap"), "not of int8 max"),
        (("int8", "avg", 2, "wrap"), "not of int8 avg"),
    ],
)
def test_problems_that_do_not_exist(arguments, message):
    with pytest.raises(UsageError, match=message):
        KnownReduction(*arguments, seed=1)


@pytest.mark.parametrize(("rank", "count"), [(-1, 1), (2, 1), (0, -1)])
def test_ranks_and_counts_outside_the_problem(rank, count):
    with pytest.raises(UsageError, match="allowed"):
        KnownReduction("int8", "sum", 2, "exact", seed=1).inputs(rank, count)


def test_the_mixer_is_splitmix64():
    """First outputs of Vigna's splitmix64.c for seed 0."""
    states = np.array([1, 2, 3], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix(states).tolist() == known


def test_the_normal_numbers_are_standard():
    values = approximately_normal(draw(1, 2, 3, np.arange(200_000, dtype=np.uint64)))
    assert abs(values.mean()) < 4 / np.sqrt(200_000)
    assert abs(values.var() - 1) < 0.015
    assert np.abs(values).max() <= 2 * np.sqrt(3)
    assert 0.945 < (np.abs(values) < 1.96).mean() < 0.96
