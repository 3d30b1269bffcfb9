"""Sanitizers have nothing to say of the kernel, and have of kernels that are broken."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import sanitize
from explore import ROWS
from score import Mutant, load, mutate

from nvrar_bench.toolchain.kernel import KERNELS_VARIABLE

ROUNDS = int(os.environ.get("NVRAR_BENCH_SANITIZER_ROUNDS", "1"))
MUTANTS = {mutant.name: mutant for mutant in load()}
OVERFLOW = Mutant(
    "sums of signed integers are left to overflow",
    "reduction.cuh",
    "using W = Wrapping<A>;\n        return static_cast<A>(static_cast<W>(a) + static_cast<W>(b));",
    "return a + b;",
)
FLOATS, INTEGERS = ROWS[:1], (("int64", "sum"),)


@pytest.fixture(scope="module")
def programs(kernel_cache):
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda s: sanitize.build(s, sanitize.SANITIZED_ROWS), sanitize.SANITIZERS))


@pytest.mark.parametrize("sanitizer", sanitize.SANITIZERS)
@pytest.mark.parametrize("seed", range(1, ROUNDS + 1))
def test_nothing_is_found(programs, sanitizer, seed):
    report = sanitize.sanitize(sanitizer, sanitize.SANITIZED_ROWS, seed, ROUNDS > 1)
    assert report.is_silent, report.text


@pytest.mark.parametrize(
    ("sanitizer", "rows", "mutant", "told"),
    [
        ("address", FLOATS, MUTANTS["the last slice is as long as the others"],
         "AddressSanitizer: heap-buffer-overflow"),
        ("undefined", INTEGERS, OVERFLOW, "runtime error: signed integer overflow"),
        ("thread", FLOATS, MUTANTS["flags are stored relaxed"], "ThreadSanitizer: data race"),
        ("thread", FLOATS, MUTANTS["nothing orders one call and the next"],
         "ThreadSanitizer: data race"),
    ],
    ids=lambda value: getattr(value, "name", None),
)  # fmt: skip
def test_broken_kernels_are_found(tmp_path, monkeypatch, sanitizer, rows, mutant, told):
    mutate(mutant, tmp_path / "kernels")
    monkeypatch.setenv(KERNELS_VARIABLE, str(tmp_path / "kernels"))
    report = sanitize.sanitize(sanitizer, rows)
    assert not report.is_silent
    assert told in report.text
