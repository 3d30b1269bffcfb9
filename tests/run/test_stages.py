"""Which sweeps run at which numbers of nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.errors import UsageError
from nvrar_bench.run.stages import case_count, left_out, stages
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.settings.settings import Settings
from nvrar_bench.timing.stopping import Stopping

PLAN = build_plan((4096, 8192))


class Six:
    rank, size = 0, 6


@pytest.fixture
def world(alone):
    return replace(alone, comm=Six(), host_comm=Six(), hosts=("here",) * 6, machine_of=(0,) * 6)


def sweep(name: str = "sweep", nodes: tuple = (), iters=None, warmup=None) -> Sweep:
    return Sweep(name, nodes, (), iters, warmup, PLAN)


def settings(*sweeps: Sweep, nodes: int | None = None) -> Settings:
    return Settings(
        sweeps, (), "cpu", Stopping(200), warmup=20, check=True, nodes=nodes, timeout=1.0, seed=0
    )


def shape(found: list) -> list[tuple]:
    return [(stage.sweep.name, stage.world.nodes, stage.suffix) for stage in found]


def test_without_a_word_on_nodes_a_sweep_runs_as_launched(world):
    (stage,) = stages(settings(sweep()), world)
    assert stage.world is world
    assert (stage.iters, stage.warmup, stage.suffix) == (None, 20, "")


def test_a_sweep_runs_at_every_number_of_nodes_that_divides_the_ranks(world):
    wanted = settings(sweep("a", (1, 2, 4, 6)), sweep("b", (3,)), sweep("c"))
    assert shape(stages(wanted, world)) == [
        ("a", 1, "@1"), ("a", 2, "@2"), ("a", 6, "@6"), ("b", 3, ""), ("c", 1, ""),
    ]  # fmt: skip
    assert case_count(wanted, world) == 10
    assert left_out(wanted, world) == ["sweep a at 4 nodes: 6 ranks cannot be split into 4"]


def test_nodes_of_the_command_line_override_the_file(world):
    wanted = settings(sweep("a", (1, 2, 4)), sweep("b"), nodes=3)
    assert shape(stages(wanted, world)) == [("a", 3, ""), ("b", 3, "")]
    assert left_out(wanted, world) == []


def test_nodes_of_the_command_line_must_fit(world):
    with pytest.raises(UsageError, match=r"^--nodes 4: .* allowed here: 1, 2, 3, 6$"):
        stages(settings(sweep(), nodes=4), world)


def test_a_file_of_which_nothing_fits_is_refused(world):
    with pytest.raises(UsageError) as caught:
        stages(settings(sweep("a", (4, 5)), sweep("b", (7,))), world)
    assert str(caught.value) == (
        "--case: sweep a at 4, 5 nodes: 6 ranks cannot be split into 4, 5; "
        "sweep b at 7 nodes: 6 ranks cannot be split into 7"
    )


def test_what_a_sweep_says_wins(world):
    (stage,) = stages(settings(sweep(iters=7, warmup=0)), world)
    assert (stage.iters, stage.warmup) == (7, 0)


def test_cases_that_share_inputs_are_measured_together_in_their_order(world):
    plan = build_plan(counts=range(1, 6), dtypes=("int8", "float32"), placements=("in_place",))
    (stage,) = stages(settings(replace(sweep(), plan=plan)), world)
    shape = [[(case.dtype, case.count) for case in group] for group in stage.groups(3)]
    first, second = ([[(dtype, n) for n in part] for part in ((1, 2, 3), (4, 5))] for dtype in
                     ("int8", "float32"))  # fmt: skip
    assert shape == [*first, *second]
    assert [len(group) for group in stage.groups(1)] == [1] * 10
