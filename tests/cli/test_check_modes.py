"""Overflow is asked of NVRAR, and of a library only by name; the other modes pass on every CPU.

Open MPI's component op/avx saturates sums of 8- and 16-bit integers on CPUs with AVX2 or AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import messages, one_error

INTEGERS = """
[[sweep]]
name = "integers"
counts = [1, 64, 1003]
dtype = ["int8", "uint8"]
op = ["sum", "prod"]
check = ["exact", "rounding", "wrap"]
"""
WRAPPING, OTHERS = 3 * 2 * 2, 3 * 2 * 2 * 2  # cases
REASON = "it does not define integer overflow; --check-mode wrap tests it all the same"


@pytest.fixture
def integers(tmp_path: Path) -> Path:
    path = tmp_path / "integers.toml"
    path.write_text(INTEGERS)
    return path


@pytest.mark.parametrize(
    ("components", "ranks"),
    [
        pytest.param(None, 4, marks=pytest.mark.slow),
        ("avx", 2),
        pytest.param("^avx", 2, marks=pytest.mark.slow),
    ],
)
def test_no_component_of_mpi_fails_a_case_file(
    run_command: Callable[..., Any], integers: Path, components: str | None, ranks: int
):
    environment = {"OMPI_MCA_op": components} if components else {}
    words = ("check", "--case", integers, "--ranks", ranks, "--backend", "mpi,nvrar", "--json", "-")
    done = run_command(*words, environment=environment)
    assert (done.code, messages(done.stderr)) == (0, []), done.stderr
    record = done.record()
    if components and not record["environment"]["mpi_library"].startswith("Open MPI"):
        pytest.skip("the variable is Open MPI's")
    assert {"backend": "mpi", "reason": REASON} in record["skipped"]
    modes = [(one["backend"], one["check"]["mode"]) for one in record["results"]]
    assert [backend for backend, _ in modes].count("mpi") == OTHERS
    assert modes.count(("nvrar", "wrap")) == WRAPPING
    assert ("mpi", "wrap") not in modes


@pytest.mark.parametrize("command", ["check", "sweep"])
def test_a_library_that_is_asked_by_name_is_asked(
    run_command: Callable[..., Any], integers: Path, command: str
):
    what = ("--case", integers) if command == "check" else ("-d", "int8", "--sizes", "4K", "-n", 1)
    words = (command, *what, "--ranks", 2, "--backend", "mpi", "--check-mode", "wrap")
    done = run_command(*words, "--json", "-")
    record = done.record()
    assert {one["check"]["mode"] for one in record["results"]} == {"wrap"}
    assert record["skipped"] == []
    assert record["settings"]["wrap_asked"]
    statuses = {one["check"]["status"] for one in record["results"]}
    assert done.code == (3 if "failed" in statuses else 0), done.stderr
    if done.code:  # a CPU on which this MPI saturates
        assert "that overflows" in one_error(done.stderr)


def test_nvrar_wraps(run_command: Callable[..., Any], integers: Path):
    words = ("check", "--case", integers, "--ranks", 2, "--check-mode", "wrap")
    done = run_command(*words, "--backend", "nvrar,fake")
    assert (done.code, messages(done.stderr)) == (0, [])
    assert f"nvrar: {WRAPPING} passed, 0 failed" in done.stdout
    assert f"fake: {WRAPPING} passed, 0 failed" in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("check --case smoke --check-mode wrap", ["--check-mode wrap", "--dtype int8", "--op sum"]),
        ("check --check-mode foo", ["--check-mode 'foo'", "exact, rounding, wrap"]),
        ("check --soak 5 --check-mode exact", ["--soak 5", "--check-mode exact"]),
        ("sweep --check-mode wrap", ["--check-mode wrap", "--dtype int8", "--op sum"]),
        ("sweep --check-mode exact,wrap -d int8 -o max", ["--check-mode wrap", "--op sum"]),
    ],
)
def test_modes_that_make_no_sense(run_command: Callable[..., Any], words: str, named: list[str]):
    done = run_command(*words.split())
    assert done.code == 2
    message = one_error(done.stderr)
    for word in named:
        assert word in message
