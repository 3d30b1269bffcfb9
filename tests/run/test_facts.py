"""Facts for the record: an allow-list, and what ranks must agree on."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import nvrar_bench
from nvrar_bench.documents.record import RankPlace, Topology
from nvrar_bench.errors import CompilerError
from nvrar_bench.run import facts

KEYS = {
    "host", "os", "machine", "cpu", "cores", "oversubscribed", "mpi_library", "compiler",
    "kernels_sha256", "python", "mpi4py", "numpy", "ml_dtypes", "nvidia-cuda-runtime",
    "nvidia-cuda-cccl", "cuda_packages",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _mpi(monkeypatch):
    monkeypatch.setattr(facts, "library_version", lambda: "Some MPI 1.2")


def test_the_environment_is_this_list_and_no_more(alone, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    seen = facts.environment(alone)
    assert set(seen) == KEYS
    assert "hunter2" not in json.dumps(seen)
    assert seen["mpi_library"] == "Some MPI 1.2"
    assert seen["host"] == "here"


def test_a_missing_compiler_is_a_fact_too(alone, monkeypatch):
    def none() -> None:
        raise CompilerError("there is none")

    monkeypatch.setattr(facts.host, "compiler", none)
    assert facts.environment(alone)["compiler"] == "there is none"


def test_topology_names_every_rank(alone):
    four = SimpleNamespace(rank=0, size=4)
    world = replace(
        alone, comm=four, host_comm=four, hosts=("a",) * 4, machine_of=(0,) * 4
    ).with_nodes(2)
    places = [RankPlace(rank, "a", rank // 2, rank % 2, "cpu") for rank in range(4)]
    assert facts.topology(world, "cpu") == Topology(4, 2, 2, True, tuple(places))


def test_ranks_agree_on_version_sources_and_each_argument(monkeypatch):
    agreed = facts.must_agree({"seed": 3, "iters": 5})
    digest = facts.sources_digest(facts.kernels_dir())
    assert agreed == {
        "the version of nvrar-bench": nvrar_bench.__version__,
        "the kernel sources": digest[:12],
        "the argument seed": 3,
        "the argument iters": 5,
    }
