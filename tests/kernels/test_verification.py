"""The checks that run in device memory, compiled for the CPU: they find what verify.check finds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.cuda.elements import check_entry, pattern_of
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import CUDA_GATE, Elements
from nvrar_bench.verify import Expected, KnownReduction, check, poison, write_canary

COUNTS = [1, 2, 3, 7, 8, 9, 31, 64, 65, 255, 256, 257, 999, 1000]
NONE = np.iinfo(np.uint64).max
NOTHING_AROUND = (0, 0, 0)
FLOATS = [name for name, row in DTYPES.items() if row.is_float]


@pytest.fixture(scope="module")
def library(kernel_cache):
    """`library(dtype)`: the kernels of that type."""
    libraries = dict(zip(DTYPES, host.build_all([Elements(name) for name in DTYPES]), strict=True))
    names = {row.numpy: name for name, row in DTYPES.items()}
    return lambda dtype: host.load(libraries[names[dtype]])


@pytest.fixture(scope="module")
def found(library):
    """`found(seen, expected, tolerance)`: how many are wrong, and the first."""

    def run(seen: np.ndarray, expected: np.ndarray, tolerance: np.ndarray | None = None):
        verdict = np.zeros(3, np.uint64)
        known = [expected] if tolerance is None else [expected, tolerance]
        words = [seen.ctypes.data, len(seen), 1, seen.nbytes, 1]
        words += [*(a.ctypes.data for a in known), verdict.ctypes.data, *NOTHING_AROUND]
        function = library(seen.dtype)[check_entry(seen.dtype, tolerance is not None)]
        function.restype = None
        function(*(ctypes.c_uint64(word) for word in words))
        return int(verdict[0]), int(~verdict[1])

    return run


def on_the_host(seen, expected, tolerance=None):
    result = check(seen, Expected(expected, tolerance), len(seen), 0)
    return result.wrong, NONE if result.first_wrong is None else result.first_wrong["index"]


def mutated(right: np.ndarray, seed: int) -> np.ndarray:
    """Some elements with one bit flipped: neighbours, signs, zeros of both signs, NaN, infinity."""
    random = np.random.default_rng(seed)
    bits = right.copy().view(f"u{right.dtype.itemsize}")
    places = np.flatnonzero(random.random(len(bits)) < 0.2)
    flips = random.integers(0, 8 * right.dtype.itemsize, len(places), np.uint64)
    bits[places] ^= np.left_shift(np.uint64(1), flips).astype(bits.dtype)
    return bits.view(right.dtype)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", list(DTYPES))
def test_exact_findings_are_those_of_the_host(found, name, count):
    expected = KnownReduction(name, "sum", 3, "exact", 5).expected(count).value
    assert found(expected.copy(), expected) == (0, NONE)
    for seed in range(4):
        seen = mutated(expected, seed)
        assert found(seen, expected) == on_the_host(seen, expected)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", list(DTYPES))
def test_findings_within_a_tolerance_are_those_of_the_host(found, name, count):
    problem = KnownReduction(name, "sum", 1, "rounding", 5)
    known = problem.expected(count)
    value = known.value.astype(np.float64)
    tolerance = np.full(count, 0.25) if known.tolerance is None else known.tolerance
    seen = problem.inputs(0, count)
    assert found(seen, value, tolerance) == on_the_host(seen, value, tolerance)
    for seed in range(4):
        seen = mutated(problem.inputs(0, count), seed)
        assert found(seen, value, tolerance) == on_the_host(seen, value, tolerance)


@pytest.mark.parametrize("place", [0, 1, 254, 255, 256, 511, 999])
@pytest.mark.parametrize("name", list(DTYPES))
def test_one_wrong_element_is_found_wherever_it_is(found, name, place):
    expected = np.ones(1000, DTYPES[name].numpy)
    seen = expected.copy()
    seen[place] = 2
    assert found(seen, expected) == (1, place)
    off = np.abs(seen.astype(np.float64) - 1).max()
    assert found(seen, np.ones(1000), np.full(1000, 0.5 * off)) == (1, place)
    assert found(seen, np.ones(1000), np.full(1000, off)) == (0, NONE)


@pytest.mark.parametrize("name", FLOATS)
def test_both_zeros_are_equal_and_nan_is_never_right(found, name):
    dtype = DTYPES[name].numpy
    zeros, negative = np.zeros(9, dtype), np.full(9, -0.0, dtype)
    assert negative.tobytes() != zeros.tobytes()
    assert found(negative, zeros) == (0, NONE)
    nan = np.full(9, np.nan, dtype)
    assert found(nan, nan) == (9, 0)
    assert found(nan, np.zeros(9), np.full(9, np.inf)) == (9, 0)
    assert found(zeros, np.full(9, np.nan), np.full(9, np.inf)) == (9, 0)
    assert found(zeros, np.zeros(9), np.full(9, np.nan)) == (9, 0)


@pytest.mark.parametrize("name", [name for name in FLOATS if name != "float8_e4m3"])
def test_infinity_is_right_only_where_it_is_expected(found, name):
    infinite = np.full(3, np.inf, DTYPES[name].numpy)
    assert found(infinite, infinite) == (0, NONE)
    assert found(infinite, -infinite) == (3, 0)
    assert found(infinite, np.full(3, np.inf), np.zeros(3)) == (3, 0), "infinity - infinity is NaN"


def test_64_bit_integers_are_compared_in_full(found):
    expected = np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64)
    assert found(expected - np.array([1, 0, 1]), expected) == (2, 0)


def test_a_second_verdict_adds_to_the_first(library):
    """Blocks share the verdict of a row: it is added to, and its index only falls."""
    verdicts = np.array([[3, ~np.uint64(2), 0], [0, 0, 0]], np.uint64)
    seen, expected = np.zeros((2, 16), np.uint8), np.ones(8, np.uint8)
    seen[1, :5] = 1
    words = [seen.ctypes.data, 8, 1, 16, 2, expected.ctypes.data, verdicts.ctypes.data]
    call(library, "nvrar_check_exact_uint8", *words, *NOTHING_AROUND)
    assert verdicts[:, 0].tolist() == [11, 3]
    assert (~verdicts[:, 1]).tolist() == [0, 5]


@pytest.mark.parametrize("place", [0, 63, 64, 127])
def test_what_was_written_around_an_output_is_counted_in_its_row(library, place):
    memory = np.zeros((2, 64 + 8 + 64), np.uint8)
    front, output, behind = (memory[:, at:].ctypes.data for at in (0, 64, 72))
    around, rows = (front, behind, 64), (136, 2)
    call(library, "nvrar_spoil", output, 8, 1, *rows, 0, *around)
    canary = np.empty(64, np.uint8)
    write_canary(canary)
    assert np.array_equal(memory[1], [*canary, *[0] * 8, *canary])
    memory[1, place + 8 * (place > 63)] ^= 1
    verdicts, expected = np.zeros((2, 3), np.uint64), np.zeros(8, np.uint8)
    known = expected.ctypes.data, verdicts.ctypes.data
    call(library, "nvrar_check_exact_uint8", output, 8, 1, *rows, *known, *around)
    assert verdicts.tolist() == [[0, 0, 0], [0, 0, 1]]
    tolerance = np.zeros(8)
    known = tolerance.ctypes.data, tolerance.ctypes.data, verdicts.ctypes.data
    call(library, "nvrar_check_rounding_uint8", output, 8, 1, *rows, *known, *around)
    assert verdicts.tolist() == [[0, 0, 0], [0, 0, 2]]


def call(library, entry: str, *words: int) -> None:
    library(np.dtype(np.uint8))[entry](*map(ctypes.c_uint64, words))


@pytest.mark.parametrize("count", [0, 1, 2, 7, 33])
@pytest.mark.parametrize("name", list(DTYPES))
def test_the_fill_writes_what_poison_writes_and_nothing_behind_it(library, name, count):
    dtype = DTYPES[name].numpy
    poisoned, filled = np.zeros(count + 2, dtype), np.zeros(count + 2, dtype)
    poison(poisoned[1:-1])
    words = [filled.ctypes.data + dtype.itemsize, count * dtype.itemsize, 1, 0, 1]
    call(library, "nvrar_spoil", *words, pattern_of(dtype), *NOTHING_AROUND)
    assert filled.tobytes() == poisoned.tobytes()


@pytest.fixture(scope="module")
def hold(kernel_cache):
    library = host.load(host.build(CUDA_GATE))
    library.nvrar_nothing()

    def run(words: np.ndarray, ticket: int, timeout_ns: int) -> None:
        address = words.ctypes.data
        library.nvrar_hold(*map(ctypes.c_uint64, (address, address + 8, ticket, timeout_ns)))

    return run


def test_a_hold_ends_at_once_when_it_was_released(hold):
    words = np.array([5, 0], np.uint64)
    hold(words, 5, 10**12)
    hold(words, 4, 10**12)
    assert words.tolist() == [5, 0]


def test_a_hold_that_nobody_releases_says_so(hold):
    words = np.array([6, 0], np.uint64)
    hold(words, 7, 2_000_000)
    assert words.tolist() == [6, 7]
