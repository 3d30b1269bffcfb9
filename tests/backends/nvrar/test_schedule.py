"""The steps between nodes: every node's data reaches every node, once."""

from __future__ import annotations

from collections import Counter
from math import prod

import pytest

from nvrar_bench.backends.nvrar.layout import (
    LARGEST_RADIX,
    SLICE_ALIGNMENT,
    Schedule,
    place_fields,
    plan_steps,
    window_fields,
)
from nvrar_bench.toolchain.structs import MAX_STEPS, CArguments

NODES = range(1, 65)
RADICES = (2, 3, 4, 8, 64)


@pytest.mark.parametrize("radix", RADICES)
def test_every_node_gets_the_data_of_every_node_once(radix):
    for nodes in NODES:
        everybody = Counter(range(nodes))
        assert simulate(plan_steps(nodes, radix)) == [everybody] * nodes


@pytest.mark.parametrize("radix", RADICES)
def test_shape_of_a_schedule(radix):
    for nodes in NODES:
        schedule = plan_steps(nodes, radix)
        core = prod(schedule.radices)
        assert schedule.core_nodes == core <= nodes
        assert nodes - core <= core  # a node takes in one other at most
        assert schedule.is_folding == (core < nodes)
        assert schedule.slots == sum(r - 1 for r in schedule.radices)
        assert all(2 <= r <= max(radix, LARGEST_RADIX) for r in schedule.radices)
        assert len(schedule.radices) <= MAX_STEPS


@pytest.mark.parametrize(
    ("nodes", "radix", "radices"),
    [
        (1, 2, ()),
        (2, 2, (2,)),
        (6, 2, (2, 3)),
        (7, 2, (7,)),
        (8, 2, (2, 2, 2)),
        (8, 4, (4, 2)),
        (8, 8, (8,)),
        (11, 2, (2, 5)),
        (13, 2, (2, 2, 3)),
        (11, 16, (11,)),
        (12, 12, (12,)),
        (64, 8, (8, 8)),
        (64, 2, (2,) * 6),
    ],
)
def test_radices(nodes, radix, radices):
    assert plan_steps(nodes, radix).radices == radices


def test_2_to_the_16_nodes_still_fit_the_arguments():
    schedule = plan_steps(2**MAX_STEPS)
    arguments = CArguments(**place_fields(2 * (2**MAX_STEPS - 1) + 1, 2, schedule))
    assert arguments.core_nodes == arguments.nodes == 2**MAX_STEPS
    assert [(s.radix, s.digit, s.stride) for s in arguments.step] == [
        (2, 1, 2**step) for step in range(MAX_STEPS)
    ]


def test_arguments_hold_the_schedule():
    arguments = CArguments(**place_fields(4 * 13 + 3, 4, plan_steps(26)))
    assert [arguments.rank, arguments.node, arguments.local] == [55, 13, 3]
    held = [arguments.nodes, arguments.core_nodes, arguments.steps, arguments.slots]
    assert held == [26, 25, 2, 8]
    steps = [(s.radix, s.stride, s.digit, s.first_slot) for s in arguments.step[:3]]
    assert steps == [(5, 1, 3, 0), (5, 5, 2, 4), (0, 0, 0, 0)]


def test_every_part_is_finished_by_one_node():
    """In halving, 6 nodes hold 6, 3 and 1 parts before each step and behind the last."""
    for nodes in NODES:
        schedule = plan_steps(nodes, exchange="halving")
        finished = []
        for node in range(schedule.core_nodes):
            arguments = CArguments(**place_fields(node, 1, schedule))
            first, held = 0, arguments.parts
            for step in arguments.step[: arguments.steps]:
                assert (step.first_part, step.digit_parts * step.radix) == (first, held)
                first, held = first + step.digit * step.digit_parts, step.digit_parts
            finished.append((first, held))
        assert sorted(finished) == [(part, 1) for part in range(schedule.core_nodes)]
    assert CArguments(**place_fields(4, 1, plan_steps(6))).parts == 1


@pytest.mark.parametrize("per_node", [1, 2, 3, 8])
@pytest.mark.parametrize("window", [64, 128, 512 << 10])
@pytest.mark.parametrize("nbytes", [1, 15, 16, 17, 127, 128, 129, 1000, (1 << 20) + 8])
def test_windows_and_slices_hold_the_whole_message(nbytes, window, per_node):
    arguments = CArguments(**window_fields(nbytes, window, per_node))
    assert (arguments.windows - 1) * window < nbytes <= arguments.windows * window
    last = nbytes - (arguments.windows - 1) * window
    for held, cut in ((arguments.slice_bytes, window), (arguments.last_slice_bytes, last)):
        assert held % SLICE_ALIGNMENT == 0
        assert cut <= held * per_node < cut + per_node + SLICE_ALIGNMENT * per_node


def simulate(schedule: Schedule) -> list[Counter]:
    """Run the schedule as kernels/schedule.cuh describes it; whose data each node ends up with."""
    held = [Counter([node]) for node in range(schedule.nodes)]
    core = prod(schedule.radices)
    for folded in range(core, schedule.nodes):
        held[folded - core] += held[folded]
    stride = 1
    for radix in schedule.radices:
        held = [
            sum((held[peer] for peer in group(node, stride, radix)), Counter())
            if node < core
            else held[node]
            for node in range(schedule.nodes)
        ]
        stride *= radix
    return [held[node if node < core else node - core] for node in range(schedule.nodes)]


def group(node: int, stride: int, radix: int) -> list[int]:
    """Nodes that differ from `node` in one digit."""
    first = node - node // stride % radix * stride
    return [first + digit * stride for digit in range(radix)]
