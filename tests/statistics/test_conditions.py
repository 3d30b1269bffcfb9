"""What must agree, what may differ, and what a record means that lacks a key."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from nvrar_bench.documents.comparison import Difference
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.statistics.conditions import differences, disagreements
from tests.statistics.records import ENVIRONMENT, TOPOLOGY, record, result

STEADY = [[10.0] * 10]


def run(device: str = "cpu", **settings: Any) -> RunRecord:
    return record(result(STEADY, device=device), **settings)


def where(**facts: Any) -> RunRecord:
    return replace(run(), environment={**ENVIRONMENT, **facts})


def shaped(**shape: Any) -> RunRecord:
    return replace(run(), topology=replace(TOPOLOGY, **shape))


@pytest.mark.parametrize(
    ("new", "fact", "base_text", "new_text"),
    [
        (shaped(ranks=4), "ranks", "2", "4"),
        (shaped(nodes=2), "nodes", "1", "2"),
        (shaped(ranks_per_node=1), "ranks_per_node", "2", "1"),
        (shaped(virtual_nodes=True), "virtual_nodes", "false", "true"),
        (run("cuda"), "device", "cpu", "cuda"),
        (run(virtual_ranks=8), "virtual_ranks", "none", "8"),
        (run(graph=8), "graph", "1", "8"),
        (run(batch=25), "batch", "1", "25"),
        (run(batch=None), "batch", "1", "none"),
        (run(cold_cache=True), "cold_cache", "false", "true"),
        (run(share_gpu=True), "share_gpu", "false", "true"),
        (run(check=False), "check", "true", "false"),
        (run(interleave=True), "interleave", "false", "true"),
        (run(soak="9 calls"), "soak", "none", "9 calls"),
        (where(start="MPI barrier"), "start", "gate", "MPI barrier"),
        (where(oversubscribed=True), "oversubscribed", "false", "true"),
    ],
)
def test_these_must_agree(new: RunRecord, fact: str, base_text: str, new_text: str) -> None:
    assert disagreements(run(), new) == (Difference(fact, base_text, new_text),)
    assert disagreements(new, run()) == (Difference(fact, new_text, base_text),)
    assert disagreements(new, new) == ()


def test_all_that_disagree_are_listed() -> None:
    new = replace(shaped(ranks=4, nodes=2), settings=run(graph=2).settings)
    assert [one.fact for one in disagreements(run(), new)] == ["ranks", "nodes", "graph"]


def test_a_graph_says_how_many_calls_a_sample_has() -> None:
    before_batches = run(graph=8)
    assert disagreements(before_batches, run(graph=8, batch=8)) == ()
    assert disagreements(run(), run(batch=1)) == ()


def test_a_key_that_is_not_there_means_what_was_so_before_it() -> None:
    bare = replace(run(), settings={}, environment={"start": "gate"})
    assert disagreements(run(), bare) == disagreements(bare, bare) == ()
    assert disagreements(bare, run(cold_cache=True)) != ()


def test_how_calls_start_is_as_resolved_or_else_as_asked_for() -> None:
    asked = replace(run(start="clock"), environment={})
    assert disagreements(asked, where(start="clock")) == ()
    assert [one.fact for one in disagreements(run(start="auto"), asked)] == ["start"]


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (run(iters=100), "iters: 200 -> 100"),
        (run(seed=1), "seed: 0 -> 1"),
        (run(radix=4), "radix: none -> 4"),
        (where(cpu="another"), "cpu: a CPU -> another"),
        (where(kernels_sha256="f" * 120), f"kernels_sha256: none -> {'f' * 97}..."),
        (where(cuda_packages={"nccl4py": "0.7"}), "cuda_packages.nccl4py: 0.6 -> 0.7"),
        (where(cuda_packages={}), "cuda_packages.nccl4py: 0.6 -> none"),
        (replace(run(), run=replace(run().run, version="9")), "nvrar-bench: 0.1.0 -> 9"),
        (
            shaped(placement=tuple(replace(p, host="far") for p in TOPOLOGY.placement)),
            "hosts: box -> far",
        ),
    ],
)
def test_these_are_told(new: RunRecord, told: str) -> None:
    assert [str(one) for one in differences(run(), new)] == [told]
    assert disagreements(run(), new) == ()


@pytest.mark.parametrize(
    "new",
    [
        run(sizes=[1], sweeps=["x"], dtype=["int8"], backends=["mpi"], device="cpu"),
        where(event_resolution_us=0.5),
        where(clock={"error_us": 0.25}),
        replace(run(), run=replace(run().run, id="b" * 32, command=("x",))),
    ],
)
def test_these_are_not(new: RunRecord) -> None:
    """They show as points, or were measured, or say nothing of the machine."""
    assert differences(run(), new) == disagreements(run(), new) == ()


def test_facts_may_be_anything() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    (told,) = differences(run(), where(cpu=deep))
    assert str(told) == "cpu: a CPU -> too deeply nested to show"
