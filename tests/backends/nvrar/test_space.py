"""Which launches a search tries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.backends.nvrar.chooser import Chooser
from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine
from nvrar_bench.backends.nvrar.layout import plan, plan_steps
from nvrar_bench.backends.nvrar.limits import gpu_limits
from nvrar_bench.backends.nvrar.space import MOST_CHUNKS, MOST_DIRECT, Space
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.toolchain.kernel import EXCHANGES

GPU = gpu_limits(64, "loopback", "sm_90")


def a_case(nbytes: int):
    (case,) = build_plan((nbytes,))
    return case


def tried(limits, nbytes: int, group: int, nodes: int = 1, space: Space = Space()):  # noqa: B008
    return space.candidates(Chooser(limits, group, 64 << 10), nodes, a_case(nbytes))


@given(
    st.sampled_from([GPU, HostEngine.limits, EmulatedEngine.limits]),
    st.integers(4, 1 << 32),
    st.integers(1, 16),
    st.integers(1, 40),
)
def test_what_is_tried_is_allowed_once_and_begins_with_what_auto_chooses(
    limits, nbytes, group, nodes
):
    chooser, case = Chooser(limits, group, 64 << 10), a_case(nbytes)
    shapes = Space().candidates(chooser, nodes, case)
    assert shapes[0] == chooser.choose(AUTOMATIC, case).shape
    for shape in shapes:
        assert chooser.shaped(shape, case).shape == shape
    launches = {
        (s.protocol, s.blocks, s.threads, s.chunk_bytes, plan(nodes, group, s.radix, s.exchange))
        for s in shapes
    }
    assert len(launches) == len(shapes) <= 2000  # of four schedules
    assert {shape.protocol for shape in shapes} == {"signal", "packet"}


def test_on_cpu_ranks_protocol_chunk_and_radix_are_left():
    shapes = tried(HostEngine.limits, 128 << 10, 2, nodes=4)
    assert {(shape.blocks, shape.threads) for shape in shapes} == {(1, 1)}
    assert {shape.radix for shape in shapes} == {2, 4}
    chunks = {shape.chunk_bytes for shape in shapes if shape.protocol == "signal"}
    assert chunks == {4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}


def test_on_gpus_blocks_and_threads_are_powers_of_two_up_to_the_most():
    shapes = [
        shape
        for shape in tried(gpu_limits(48, "loopback", "sm_90"), 2 << 20, 4)
        if shape.protocol == "signal"
    ]
    assert {shape.blocks for shape in shapes} == {1, 2, 4, 8, 16, 32, 48, 64, 96}
    assert {shape.threads for shape in shapes} == {32, 64, 128, 256, 512}


def test_two_blocks_on_a_multiprocessor_have_half_the_threads_each():
    shapes = tried(gpu_limits(16, "loopback", "sm_90"), 2 << 20, 4)
    assert max(shape.threads for shape in shapes if shape.blocks <= 16) == 512
    assert {shape.blocks for shape in shapes if shape.blocks > 16} == {32}
    assert max(shape.threads for shape in shapes if shape.blocks > 16) == 256


def test_launches_that_would_spill_are_not_tried():
    shapes = tried(gpu_limits(16, "nvshmem", "sm_90"), 2 << 20, 4)
    most = {
        (protocol, blocks): max(
            s.threads for s in shapes if (s.protocol, s.blocks) == (protocol, blocks)
        )
        for protocol in ("signal", "packet")
        for blocks in (16, 32)
    }
    assert most == {
        ("signal", 16): 512, ("signal", 32): 256, ("packet", 16): 256, ("packet", 32): 128,
    }  # fmt: skip


def test_blocks_and_threads_without_work_are_left_out():
    shapes = [s for s in tried(GPU, 8 << 10, 4)[1:] if s.exchange == "doubling"]
    assert {shape.blocks for shape in shapes} == {1, 2}
    assert max(s.threads for s in shapes if s.protocol == "signal") == 128  # 2K, 16 bytes each


def test_threads_are_whole_warps():
    for nbytes in (1 << 10, 10_000, 77_777, 1_000_000):
        for shape in tried(GPU, nbytes, 3, nodes=3):
            assert shape.threads % 32 == 0


def test_chunks_are_few():
    for shape in tried(GPU, 2 << 20, 4)[1:]:
        share = -(-(2 << 20) // 4 // shape.blocks)
        assert -(-share // shape.chunk_bytes) <= MOST_CHUNKS


@pytest.mark.parametrize(
    ("nodes", "radices"),
    [(1, {2}), (2, {2}), (3, {2}), (4, {2, 4}), (MOST_DIRECT, {2, MOST_DIRECT}), (32, {2})],
)
def test_the_direct_exchange_is_tried_where_it_is_another_one(nodes, radices):
    assert {shape.radix for shape in tried(HostEngine.limits, 4096, 1, nodes)} == radices
    planned = Space().schedules(nodes, 1)
    assert {plan_steps(nodes, radix) for radix in radices} <= planned


@pytest.mark.parametrize(("nodes", "exchanges"), [(1, 1), (2, 1), (3, 2), (8, 2), (32, 2)])
def test_halving_is_tried_where_it_saves_bytes(nodes, exchanges):
    found = {shape.exchange for shape in tried(HostEngine.limits, 4096, 1, nodes)}
    assert found == set(EXCHANGES[:exchanges])
    assert {schedule.exchange for schedule in Space().schedules(nodes, 1)} == found


@pytest.mark.parametrize(
    ("ranks", "nodes", "nbytes", "is_tried"),
    [
        (2, 1, 256 << 10, True),
        (MOST_DIRECT, 1, 4, True),
        (2, 1, (256 << 10) + 4, False),
        (MOST_DIRECT + 1, 1, 4, False),
        (1, 1, 4, False),
        (2, 2, 4, False),
    ],
)
def test_one_shot_is_tried_in_one_window_of_one_node(ranks, nodes, nbytes, is_tried):
    shapes = [s for s in tried(GPU, nbytes, ranks, nodes)[1:] if s.exchange == "one-shot"]
    assert {shape.radix for shape in shapes} == ({ranks} if is_tried else set())
    if is_tried:
        assert plan(nodes, ranks, ranks, "one-shot") in Space().schedules(nodes, ranks)
        most = max(shape.blocks for shape in shapes)
        assert most == max(1, min(128, nbytes >> 10))  # each has its 1K of the whole message


def test_what_is_listed_is_searched_exactly():
    space = Space(("packet",), (1, 64), (32,), (1024, 4096), (3, 8), ("halving",))
    automatic, *shapes = tried(GPU, 1 << 10, 8, nodes=8, space=space)
    found = {(s.protocol, s.blocks, s.threads, s.chunk_bytes, s.radix) for s in shapes}
    steps = {plan_steps(8, radix) for radix in (3, 8)}
    assert len(steps) == 2
    assert found == {
        ("packet", blocks, 32, chunk, radix)
        for blocks in (1, 64) for chunk in (1024, 4096) for radix in (3, 8)
    }  # fmt: skip
    assert {shape.exchange for shape in shapes} == {"halving"}
    assert (automatic.radix, automatic.exchange) == (2, "doubling")
    assert space.schedules(8, 8) == {
        plan_steps(8), plan_steps(8, 3, "halving"), plan_steps(8, 8, "halving"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Space(blocks=(1, 129)), "--blocks 129: allowed here: 1 to 128"),
        (Space(threads=(16,)), "--threads 16: allowed here: 32 to 512"),
        (Space(chunk_bytes=(1 << 20,)), "--chunk 1048576: allowed here: 1024 to 262144"),
    ],
)
def test_what_is_listed_must_be_allowed(space, message):
    with pytest.raises(UsageError) as caught:
        space.require_within(GPU)
    assert str(caught.value) == message
