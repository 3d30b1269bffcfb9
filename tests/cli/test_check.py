"""`check` runs all cases and names those that are wrong; `sweep` stops at the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import messages, one_error, read

OWN = """
[[sweep]]
name = "short"
counts = [1, 3]

[[sweep]]
name = "long"
counts = [4, 100]
dtype = ["float32", "int8"]
placement = ["out_of_place", "in_place"]
iters = 50
warmup = 10
"""
WRONG = {"NVRAR_BENCH_FAKE": "wrong=3"}  # element 3 of every result that has one, on the last rank


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("ranks", [pytest.param(3, marks=pytest.mark.slow), 4])
def test_smoke(
    run_mpirun: Callable[..., Any], run_command: Callable[..., Any], tmp_path: Path, ranks: int
):
    words = ("check", "--case", "smoke", "--json", tmp_path / "run.json", "--timeout", 120)
    run = run_mpirun if ranks == 4 else run_command
    done = run(ranks, *words) if ranks == 4 else run(*words, "--ranks", ranks)
    assert (done.code, messages(done.stderr)) == (0, []), done.stderr
    record = read(tmp_path / "run.json")
    results = record["results"]
    assert {result["check"]["status"] for result in results} == {"passed"}
    assert {result["samples"] for result in results} == {1}  # the file's own iters are for sweeps
    # counts x dtypes x placements, at one node and, where that divides the ranks, at two.
    nodes = 1 if ranks == 3 else 2
    cases = 4 * 2 * 2 * nodes
    nvrar = [result for result in results if result["backend"] == "nvrar"]
    assert len(nvrar) == cases
    assert len({result["variant"].partition("@")[2] for result in nvrar}) == nodes
    assert f"nvrar: {cases} passed, 0 failed" in done.stdout
    assert f"mpi: {cases // 2} passed, 0 failed" in done.stdout  # it lacks bfloat16
    assert "skipped nccl" in done.stdout
    assert "GB/s" not in done.stdout


def test_own_file_passes(run_command: Callable[..., Any], own: Path):
    done = run_command("check", "--case", own, "--ranks", 2, "--backend", "mpi,fake")
    assert (done.code, messages(done.stderr)) == (0, [])
    assert "mpi: 10 passed, 0 failed" in done.stdout
    assert "fake: 10 passed, 0 failed" in done.stdout


def test_check_goes_on_after_a_wrong_case(
    run_command: Callable[..., Any], own: Path, tmp_path: Path
):
    words = ("check", "--case", own, "--ranks", 2, "--backend", "fake")
    done = run_command(*words, "--json", tmp_path / "run.json", environment=WRONG)
    assert done.code == 3
    message = one_error(done.stderr)
    for text in ("fake", "wrong result", "float32 sum", "rank 1", "element 3", "expected", "saw"):
        assert text in message
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED ")]
    sizes = {"float32": ("16", "400"), "int8": ("4", "100")}
    assert [line.split(":")[0] for line in failed] == [
        f"FAILED fake fake {dtype} sum {size} {placement} symmetric"
        for dtype in ("float32", "int8")
        for placement in ("out_of_place", "in_place")
        for size in sizes[dtype]
    ]
    assert all("on rank 1, element 3" in line for line in failed)
    assert "fake: 2 passed, 8 failed" in done.stdout
    record = read(tmp_path / "run.json")
    assert record["run"]["status"] == "failed"
    assert [error["type"] for error in record["errors"]] == ["WrongResult"]
    checks = [result["check"] for result in record["results"]]
    assert [check["status"] for check in checks] == ["passed"] * 2 + ["failed"] * 8
    assert all((c["first_wrong"]["rank"], c["first_wrong"]["index"]) == (1, 3) for c in checks[2:])


def test_sweep_stops_at_the_first_wrong_case(
    run_mpirun: Callable[..., Any], own: Path, tmp_path: Path
):
    words = ("sweep", "--case", own, "--backend", "fake", "--json", tmp_path / "run.json")
    done = run_mpirun(2, *words, "-n", 2, "-w", 0, environment=WRONG)
    assert done.code == 3
    message = one_error(done.stderr)
    assert "element 3" in message
    assert "16 bytes" in message
    record = read(tmp_path / "run.json")
    assert record["run"]["status"] == "failed"
    # What the second sweep verifies first is wrong: one sample of it is taken, none of the others.
    *short, result = record["results"]
    assert [(each["count"], each["samples"]) for each in short] == [(1, 2), (3, 2)]
    assert (result["count"], result["samples"]) == (4, 1)
    # Every check of the case found its one wrong element: four before, one turn, one after.
    assert result["check"]["wrong"] == 4 + 1 + 1
    assert "element 3" in done.stdout


def test_a_wrong_result_without_the_check_is_not_seen(run_command: Callable[..., Any]):
    words = ("sweep", "--backend", "fake", "--sizes", "64", "-n", 2, "--no-check", "--json", "-")
    done = run_command(*words, environment=WRONG)
    assert done.code == 0
    assert done.record()["results"][0]["check"]["status"] == "skipped"


def test_two_backends_one_of_them_wrong(run_command: Callable[..., Any], own: Path):
    words = ("check", "--case", own, "--ranks", 2, "--backend", "mpi,fake")
    done = run_command(*words, environment=WRONG)
    assert done.code == 3
    assert "mpi: 10 passed, 0 failed" in done.stdout
    assert "fake: 2 passed, 8 failed" in done.stdout


def test_a_soak(run_command):
    done = run_command("check", "--ranks", 3, "--soak", 300, "--seed", 2, "--json", "-")
    assert done.code == 0, done.stderr
    record = done.record()
    soak = record["environment"]["soak"]
    assert soak["calls"] == 300 == sum(soak["calls_by_backend"].values())
    assert set(soak["calls_by_backend"]) == {"mpi", "nvrar"}
    assert record["settings"]["soak"] == "300 calls"
    assert record["run"]["status"] == "complete"


@pytest.mark.slow
def test_a_soak_of_nvrar_over_nodes_for_a_second(run_command):
    done = run_command(
        "check", "--ranks", 4, "--nodes", 2, "--soak", "1s", "--backend", "nvrar",
        "--first-epoch", 4294967200,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert "verified calls in" in done.stdout
    assert "nvrar" in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--soak", "0"), ["--soak 0", "10m"]),
        (("--soak", "ten"), ["--soak ten", "10m"]),
        (("--soak", "1d"), ["--soak 1d", "10m"]),
        (("--soak", "5", "--case", "smoke"), ["--soak 5", "--case smoke"]),
    ],
)
def test_a_soak_that_makes_no_sense(run_command, words, named):
    done = run_command("check", *words)
    assert done.code == 2
    for word in named:
        assert word in done.stderr
