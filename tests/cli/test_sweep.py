"""The benchmark for real: MPI and NVRAR on real ranks, every result verified."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from output import messages, read, valid

K = 1024
FEW = ("--iters", 3, "--warmup", 1, "--timeout", 120)


def _check_results(results: Iterable[dict[str, Any]], ranks: int) -> None:
    for result in results:
        check = result["check"]
        assert (check["status"], check["wrong"], check["first_wrong"]) == ("passed", 0, None)
        # Four checks before, one for each turn of timed calls, one after; on all ranks.
        turns = min(result["samples"], 10)
        assert check["elements"] == (4 + turns + 1) * result["count"] * ranks
        assert len(result["samples_us"]) == result["samples"]
        latency = result["latency_us"]
        assert 0 < latency["min"] <= latency["median"] <= latency["max"]
        counted = [us for i, us in enumerate(result["samples_us"]) if i not in result["late"]]
        assert latency["min"] == pytest.approx(min(counted or result["samples_us"]), abs=1e-3)
        gigabytes = result["size_bytes"] / latency["median"] / 1e3
        assert result["algbw_gb_per_s"] == pytest.approx(gigabytes, rel=1e-3)
        bus = gigabytes * 2 * (ranks - 1) / ranks
        assert result["busbw_gb_per_s"] == pytest.approx(bus, rel=1e-3)


def _points(record: dict[str, Any]) -> list[tuple[str, int]]:
    return [(result["backend"], result["size_bytes"]) for result in record["results"]]


def _places(record: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(p["rank"], p["node"], p["local_rank"]) for p in record["topology"]["placement"]]


def test_first_command_of_the_readme(run_mpirun: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    words = ("sweep", "--min", "128K", "--max", "2M", "--json", path, "-n", 1, "-w", 0)
    done = run_mpirun(4, *words)
    assert (done.code, messages(done.stderr)) == (0, []), done.stderr
    record = read(path)
    sizes = [128 * K, 256 * K, 512 * K, 1024 * K, 2048 * K]
    assert _points(record) == [(name, size) for size in sizes for name in ("mpi", "nvrar")]
    _check_results(record["results"], 4)
    assert [skipped["backend"] for skipped in record["skipped"]] == ["nccl"]
    reason = record["skipped"][0]["reason"]
    assert "nccl4py" in reason or "cuda" in reason.lower()
    assert (record["run"]["status"], record["errors"]) == ("complete", [])
    assert record["run"]["command"][1:] == [str(word) for word in words]
    assert record["topology"]["ranks"] == 4
    assert _places(record) == [(rank, 0, rank) for rank in range(4)]
    assert [word in done.stdout for word in ("128K", "2M", "speed-up")] == [True] * 3
    assert f"skipped: nccl: {reason}" in done.stdout
    assert all(line[0] in "# " for line in done.stdout.splitlines())


# Pairs of everything, not everything with everything: ranks, nodes and options of one sweep each.
SHAPES = [
    (1, None, "--in-place --protocol packet"),
    (1, 1, "--buffers private --protocol signal"),
    (2, 2, "--protocol signal --dtype bfloat16"),
    (3, 3, "--in-place --protocol packet --buffers private"),
    (4, 2, "--protocol signal,packet --buffers symmetric,private"),
    (4, 4, "--in-place --protocol signal --op max"),
    (5, 5, "--buffers private --protocol signal"),
    (6, 3, "--in-place --protocol packet --dtype bfloat16"),
    (6, 2, "--protocol signal --buffers private --check-mode rounding"),
    (7, 7, "--in-place --protocol packet"),
    (8, 4, "--protocol packet --buffers private"),
    (8, 2, "--in-place --protocol signal --dtype bfloat16"),
]


@pytest.mark.parametrize(
    ("ranks", "nodes", "options"),
    [pytest.param(*row, marks=[pytest.mark.slow] if row[0] > 4 else []) for row in SHAPES],
)
def test_shapes(run_command: Callable[..., Any], ranks: int, nodes: int | None, options: str):
    where = ("--ranks", ranks, *(("--nodes", nodes) if nodes else ()))
    words = ("sweep", *where, "--sizes", "4,1004,40K", *options.split(), *FEW, "--json", "-")
    done = run_command(*words)
    assert (done.code, messages(done.stderr)) == (0, []), done.stderr
    record = valid(json.loads(done.stdout))
    given = dict(zip(options.split()[-2::-2], options.split()[::-2], strict=False))
    results = record["results"]
    _check_results(results, ranks)
    nodes = nodes or 1
    per_node = ranks // nodes
    topology = record["topology"]
    assert (topology["ranks"], topology["nodes"]) == (ranks, nodes)
    assert (topology["ranks_per_node"], topology["virtual_nodes"]) == (per_node, nodes > 1)
    assert _places(record) == [(r, r // per_node, r % per_node) for r in range(ranks)]
    placement = "in_place" if "--in-place" in options else "out_of_place"
    assert {result["placement"] for result in results} == {placement}
    buffers = set(given.get("--buffers", "symmetric").split(","))
    assert {result["buffers"] for result in results} == buffers
    nvrar = [result for result in results if result["backend"] == "nvrar"]
    protocols = set(given["--protocol"].split(","))
    assert {one for one in ("signal", "packet") for r in nvrar if one in r["variant"]} == protocols
    assert len(nvrar) == 3 * len(buffers) * len(protocols)


def test_sizes_round_down_to_whole_elements(run_command: Callable[..., Any]):
    words = ("sweep", "--backend", "mpi", "--sizes", "9,1001", "-d", "float64,int8", *FEW)
    done = run_command(*words, "--json", "-")
    results = done.record()["results"]
    assert [(r["dtype"], r["size_bytes"], r["count"]) for r in results] == [
        ("float64", 8, 1), ("float64", 1000, 125), ("int8", 9, 9), ("int8", 1001, 1001),
    ]  # fmt: skip


def test_short_flags_of_nccl_tests(run_command: Callable[..., Any]):
    words = (
        "-b 64 -e 256 -f 2 -n 2 -w 0 -d int32 -o max -c 1 -T 120 --ranks 2 --backend mpi --json -"
    )
    done = run_command("sweep", *words.split())
    record = done.record()
    assert [(r["size_bytes"], r["dtype"], r["op"]) for r in record["results"]] == [
        (size, "int32", "max") for size in (64, 128, 256)
    ]
    settings = record["settings"]
    assert [settings[key] for key in ("iters", "warmup", "check", "timeout_s")] == [2, 0, True, 120]


def test_step_and_no_check(run_command: Callable[..., Any]):
    words = "-b 64 -e 256 -i 96 -n 2 -w 0 --no-check --backend mpi --json -"
    record = run_command("sweep", *words.split()).record()
    assert [result["size_bytes"] for result in record["results"]] == [64, 160, 256]
    assert {result["check"]["status"] for result in record["results"]} == {"skipped"}


def test_what_mpi_lacks_is_skipped_with_its_reason(run_command: Callable[..., Any]):
    words = ("sweep", "--ranks", 2, "--sizes", "64", "-d", "bfloat16", *FEW)
    done = run_command(*words, "--json", "-")
    record = done.record()
    assert {result["backend"] for result in record["results"]} == {"nvrar"}
    reasons = {skipped["backend"]: skipped["reason"] for skipped in record["skipped"]}
    assert "bfloat16" in reasons["mpi"]


def test_quiet_ranks(run_mpirun: Callable[..., Any]):
    """Only rank 0 prints: with --json - stdout is one JSON document, under mpirun as well."""
    words = ("sweep", "--backend", "fake", "--sizes", "64,128", *FEW)
    done = run_mpirun(3, *words, "--json", "-")
    assert (done.code, messages(done.stderr)) == (0, []), done.stderr
    assert _points(valid(json.loads(done.stdout))) == [("fake", 64), ("fake", 128)]


def test_cold_caches_on_cpu_ranks(run_command: Callable[..., Any]):
    words = "sweep --ranks 2 --sizes 4K --backend nvrar --iters 2 --warmup 0 --cold-cache --json -"
    record = run_command(*words.split()).record()
    assert record["run"]["status"] == "complete"
    facts = record["environment"]
    assert facts["cold_cache"] is record["settings"]["cold_cache"] is True
    assert facts["cold_cache_walked_bytes"] >= facts["last_level_cache_bytes"]  # of two ranks
