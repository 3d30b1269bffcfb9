"""Hosts that are not alike: each way works, or is refused with the reason and the remedy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosts
import pytest

from nvrar_bench.launch import flavours
from nvrar_bench.toolchain.kernel import kernels_dir

pytestmark = pytest.mark.usefixtures("three")
SWEEP = (
    "--backend",
    "nvrar",
    "--sizes",
    "64",
    "-n",
    "3",
    "-w",
    "0",
    "--start",
    "barrier",
    "-T",
    30,
)


def placed(done: Any) -> list[tuple[str, int]]:
    """Host and node of each rank of a run that passed its check."""
    assert done.code == 0, done.stderr
    record = done.record()
    assert [result["check"]["status"] for result in record["results"]] == ["passed"]
    return [(one["host"], one["node"]) for one in record["topology"]["placement"]]


def test_ranks_one_host_after_the_other(run_between: Any):
    done = run_between(4, *SWEEP, "--json", "-", slots=(2, 2))
    assert placed(done) == [("host1", 0), ("host1", 0), ("host2", 1), ("host2", 1)]


def test_ranks_dealt_out_in_turn_are_refused(run_between: Any):
    in_turn: dict[str, Any] = {"slots": (2, 2), "flags": ("--map-by", "node")}
    if flavours.find()[0].name == "MPICH":
        in_turn = {"slots": (1, 1)}
    done = run_between(4, *SWEEP, **in_turn)
    assert done.code == 5
    assert "mpirun --map-by slot, srun --distribution=block" in done.stderr


def test_more_ranks_on_one_host_are_refused(run_between: Any):
    done = run_between(4, *SWEEP, slots=(3, 1))
    assert done.code == 2
    assert "this job has host1: 3, host2: 1" in done.stderr
    assert "--map-by ppr:N:node" in done.stderr


@pytest.fixture
def namesake() -> Iterator[None]:
    """Both hosts are called host1."""
    subprocess.run([*hosts.entering(hosts.host("host2")), "hostname", "host1"], check=True)
    yield
    subprocess.run([*hosts.entering(hosts.host("host2")), "hostname", "host2"], check=True)


def test_hosts_of_one_name(run_between: Any, namesake: None):
    done = run_between(2, *SWEEP, "--json", "-")
    if flavours.find()[0].name == "Open MPI":  # its own ranks end with codes of theirs
        assert done.code in (2, 4)
        assert "hostnamectl set-hostname NAME" in done.stderr
    else:
        assert placed(done) == [("host1", 0), ("host1", 1)]


# In front of each rank's command: what differs on host2 alone.
ON_HOST2 = 'if [ "$(hostname)" = host2 ]; then {}; fi; exec "$@"'


def on_host2(script: str) -> tuple[str, ...]:
    return ("sh", "-c", ON_HOST2.format(script), "sh")


def test_a_host_that_is_slow_to_start(run_between: Any):
    done = run_between(2, *SWEEP, "--json", "-", each=on_host2("sleep 2"))
    assert placed(done) == [("host1", 0), ("host2", 1)]


@pytest.fixture
def cold(tmp_path: Path) -> dict[str, Any]:
    """What a run without compiled kernels is given; hosts share the files of this machine."""
    return {"without": ["NVRAR_BENCH_CACHE"], "environment": {"XDG_CACHE_HOME": str(tmp_path)}}


@pytest.mark.parametrize("lacks", ["export CXX=/gone/c++", "export XDG_CACHE_HOME=/proc/gone"])
def test_a_host_that_cannot_compile_is_given_kernels(run_between: Any, cold: Any, lacks: str):
    done = run_between(4, *SWEEP, "--json", "-", slots=(2, 2), each=on_host2(lacks), **cold)
    assert placed(done) == [("host1", 0), ("host1", 0), ("host2", 1), ("host2", 1)]


def test_no_host_that_can_compile(run_between: Any, cold: Any):
    done = run_between(2, *SWEEP, each=("env", "CXX=/gone/c++"), **cold)
    assert done.code == 5
    assert "CXX=/gone/c++: no such program; install one" in done.stderr


def test_other_kernels_on_another_host_are_refused(run_between: Any, tmp_path: Path):
    other = shutil.copytree(kernels_dir(), tmp_path / "kernels")
    with (other / "wait.cuh").open("a") as file:
        file.write("// another version\n")
    done = run_between(2, *SWEEP, each=on_host2(f"export NVRAR_BENCH_KERNELS={other}"))
    assert done.code == 2
    assert "the ranks disagree on the kernel sources: rank 0 on host1 has " in done.stderr
    assert ", rank 1 on host2 has " in done.stderr
