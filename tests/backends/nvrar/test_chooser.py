"""Which launch a call gets: the user's, the table's, or what size suggests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.backends.nvrar.chooser import NOTHING_NEAR, Chooser, require_table_within
from nvrar_bench.backends.nvrar.cpu import HostEngine, HostsEngine
from nvrar_bench.backends.nvrar.layout import plan, plan_steps
from nvrar_bench.backends.nvrar.limits import (
    gpu_limits,
    halving_from,
    one_shot_up_to,
    packets_up_to,
)
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, TunedLaunch, Tuning, TuningTable
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.tuning import MadeFor, MadeOn
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.plans import build_plan

LIMITS = gpu_limits(16, "loopback", "sm_90")
CHOOSER = Chooser(LIMITS, 4, packets_up_to=64 << 10)
HERE = MadeFor("cuda", "sm_90", "nvshmem", 4, 4, False, 1)
MADE_ON = MadeOn("NVIDIA H100", ("a",), "abc", {}, None)
TUNED = Shape("signal", 8, 128, 4096, 4, "halving")


def a_table(*rows: TunedLaunch) -> TuningTable:
    return TuningTable("--tuning t.json", "t.json", "0" * 64, HERE, MADE_ON, rows)


def a_row(size: int, dtype="float32", op="sum", buffers="symmetric", shape=TUNED) -> TunedLaunch:
    return TunedLaunch(dtype, op, buffers, size, shape)


def a_case(nbytes: int, **choices: str):
    (case,) = build_plan((nbytes,), **{f"{key}s": (value,) for key, value in choices.items()})
    return case


def test_without_a_table_the_size_decides():
    found = [CHOOSER.choose(AUTOMATIC, a_case(size)) for size in (256 << 10, 512 << 10)]
    assert [one.shape.protocol for one in found] == ["packet", "signal"]
    assert found[0].tuned_at is None
    assert found[0].warnings == ()
    assert found[0].shape.radix == 2


def test_the_table_comes_before_the_size():
    tuning = Tuning(table=a_table(a_row(128 << 10)))
    chosen = CHOOSER.choose(tuning, a_case(100_000))
    assert (chosen.shape, chosen.tuned_at, chosen.warnings) == (TUNED, 128 << 10, ())
    assert chosen.shape.blocks == 8
    assert chosen.window_bytes == LIMITS.window_bytes["signal"]
    assert tuning.schedules(16, 4) == {plan_steps(16), plan_steps(16, 4, "halving")}
    assert AUTOMATIC.schedules(16, 4) == {plan_steps(16)}
    assert replace(tuning, radix=3, exchange="halving").schedules(16, 4) == {
        plan_steps(16, 3, "halving")
    }


def test_what_the_user_fixes_comes_before_the_table():
    table = a_table(a_row(128 << 10))
    tuning = Tuning(blocks=2, threads=128, radix=2, exchange="doubling", table=table)
    chosen = CHOOSER.choose(tuning, a_case(128 << 10))
    assert chosen.shape == replace(TUNED, blocks=2, radix=2, exchange="doubling")
    assert chosen.tuned_at == 128 << 10
    assert chosen.warnings == (
        "tuning: --blocks 2 stands in place of the table's 8",
        "tuning: --radix 2 stands in place of the table's 4",
        "tuning: --exchange doubling stands in place of the table's halving",
    )


def test_another_protocol_is_not_launched_as_the_tables():
    tuning = Tuning(table=a_table(a_row(128 << 10)))
    for protocol in ("signal", "packet"):
        chosen = CHOOSER.choose(tuning, a_case(128 << 10, protocol=protocol))
        assert chosen.shape.protocol == protocol
        assert (chosen.tuned_at is None) == (protocol == "packet")
    assert chosen.shape == CHOOSER.choose(AUTOMATIC, a_case(128 << 10, protocol="packet")).shape
    assert chosen.warnings == (
        "tuning: the table has signal here: with --protocol packet launches are as without a table",
    )


def test_where_the_table_says_nothing_that_is_said():
    tuning = Tuning(table=a_table(a_row(128 << 10)))
    chosen = CHOOSER.choose(tuning, a_case(1 << 20))
    assert chosen.shape == CHOOSER.choose(AUTOMATIC, a_case(1 << 20)).shape
    assert (chosen.tuned_at, chosen.warnings) == (None, (NOTHING_NEAR,))


def test_a_shape_is_launched_as_it_is():
    chosen = CHOOSER.shaped(TUNED, a_case(4096))
    assert chosen.shape == TUNED
    with pytest.raises(UsageError, match="--blocks 64: allowed here: 1 to 32"):
        CHOOSER.shaped(replace(TUNED, blocks=64), a_case(4096))


def test_a_row_that_cannot_be_launched_here_is_named():
    table = a_table(a_row(64), a_row(128, shape=replace(TUNED, blocks=64)))
    with pytest.raises(UsageError) as caught:
        require_table_within(table, LIMITS)
    assert str(caught.value) == (
        "--tuning t.json: the choice at 128 bytes (signal, 64 x 128 threads, chunks of 4K, radix "
        "4, halving) cannot be launched here: --blocks 64: allowed here: 1 to 32"
    )


@pytest.mark.parametrize(
    ("fabric", "ranks", "nodes", "size", "protocol"),
    [
        ("loopback", 2, 1, 128 << 10, "packet"),
        ("loopback", 2, 1, 1 << 20, "packet"),
        ("loopback", 4, 1, 128 << 10, "packet"),
        ("loopback", 4, 1, 256 << 10, "signal"),
        ("loopback", 8, 2, 128 << 10, "packet"),
        ("loopback", 8, 2, 256 << 10, "signal"),
        ("nvshmem", 2, 1, 1 << 20, "packet"),
        ("nvshmem", 2, 1, 2 << 20, "signal"),
        ("nvshmem", 4, 1, 128 << 10, "signal"),
        ("nvshmem", 8, 1, 128 << 10, "signal"),
        ("nvshmem", 4, 2, 128 << 10, "packet"),
        ("nvshmem", 4, 2, 256 << 10, "signal"),
        ("nvshmem", 8, 4, 128 << 10, "signal"),
    ],
)
def test_auto_takes_the_protocol_that_an_h200_was_faster_with(fabric, ranks, nodes, size, protocol):
    """docs/measurements/kernels.md has the points; ranks shared the GPU's 132 multiprocessors."""
    limits = gpu_limits(132 // ranks, fabric, "sm_90")
    chooser = Chooser(
        limits, ranks // nodes, packets_up_to(limits, fabric, nodes, ranks // nodes, share_gpu=True)
    )
    assert chooser.choose(AUTOMATIC, a_case(size)).shape.protocol == protocol


@pytest.mark.parametrize(
    ("fabric", "nodes", "size", "exchange"),
    [
        ("hosts", 3, 128 << 10, "halving"),
        ("hosts", 3, (128 << 10) - 2, "doubling"),
        ("hosts", 2, 128 << 10, "doubling"),
        ("host", 3, 128 << 10, "doubling"),
        ("nvshmem", 4, 2 << 20, "doubling"),
    ],
)
def test_auto_takes_the_exchange_that_three_hosts_were_faster_with(fabric, nodes, size, exchange):
    chooser = Chooser(LIMITS, 2, 0, halving_from(fabric, nodes))
    assert chooser.choose(AUTOMATIC, a_case(size)).shape.exchange == exchange
    for fixed in ("doubling", "halving"):
        assert chooser.choose(Tuning(exchange=fixed), a_case(size)).shape.exchange == fixed


@pytest.mark.parametrize(("exchange", "parts"), [("doubling", 1), ("halving", 3)])
def test_a_message_to_another_host_is_one_that_open_mpi_sends_at_once(exchange, parts):
    tuning, chooser = Tuning(exchange=exchange), Chooser(HostsEngine.limits, 1, 0)
    assert chooser.choose(tuning, a_case(1 << 20)).shape.chunk_bytes == parts * (63 << 10)
    assert chooser.choose(tuning, a_case(40_000)).shape.chunk_bytes == 40_000
    whole = replace(tuning, chunk_bytes=256 << 10)
    assert chooser.choose(whole, a_case(1 << 20)).shape.chunk_bytes == 256 << 10


def test_auto_keeps_to_what_has_a_kernel_for_the_threads_that_are_fixed():
    limits = gpu_limits(16, "nvshmem", "sm_90")
    chooser = Chooser(limits, 4, packets_up_to=64 << 10)
    assert chooser.choose(Tuning(threads=256), a_case(4096)).shape.protocol == "packet"
    assert chooser.choose(Tuning(threads=512), a_case(4096)).shape.protocol == "signal"


def test_a_row_that_no_kernel_is_built_for_is_named():
    table = a_table(a_row(128, shape=Shape("packet", 8, 512, 4096, 2)))
    require_table_within(table, LIMITS)
    with pytest.raises(UsageError) as caught:
        require_table_within(table, gpu_limits(16, "nvshmem", "sm_90"))
    assert str(caught.value).startswith("--tuning t.json: the choice at 128 bytes (packet, 8 x 512")
    assert str(caught.value).endswith("allowed with --blocks 8: up to 256")


@pytest.mark.parametrize(
    ("fabric", "nodes", "ranks", "size", "exchange"),
    [
        ("host", 1, 2, 1 << 10, "one-shot"),
        ("host", 1, 2, (1 << 10) + 4, "doubling"),
        ("host", 1, 5, 256, "one-shot"),
        ("host", 1, 5, 260, "doubling"),
        ("host", 1, 1, 4, "doubling"),
        ("host", 2, 2, 4, "doubling"),
        ("hosts", 2, 2, 4, "doubling"),
        ("loopback", 1, 2, 4, "doubling"),
    ],
)
def test_auto_takes_one_shot_where_it_was_faster(fabric, nodes, ranks, size, exchange):
    limit = one_shot_up_to(fabric, nodes, ranks)
    chooser = Chooser(HostEngine.limits, ranks, 0, one_shot_up_to=limit)
    shape = chooser.choose(AUTOMATIC, a_case(size)).shape
    assert (shape.protocol, shape.exchange) == ("signal", exchange)
    assert shape.radix == (ranks if exchange == "one-shot" else 2)
    packets = chooser.choose(AUTOMATIC, a_case(size, protocol="packet")).shape
    assert packets.exchange == "doubling"  # nobody has measured it


@pytest.mark.parametrize(("ranks", "radix"), [(2, 2), (8, 8), (64, 64), (100, 64)])
def test_one_shot_is_one_step_of_all_ranks(ranks, radix):
    chooser, tuning = Chooser(LIMITS, ranks, 0), Tuning(exchange="one-shot")
    for nbytes, windows in ((4, 1), (256 << 10, 1), (1 << 20, 4)):
        chosen = chooser.choose(tuning, a_case(nbytes))
        assert chosen.shape.radix == radix
        assert -(-nbytes // chosen.window_bytes) == windows
    assert tuning.schedules(1, ranks) == {plan(1, ranks, radix, "one-shot")}
    halved = replace(tuning, radix=2).schedules(1, ranks)
    assert {schedule.radices for schedule in halved} == {plan_steps(ranks).radices}
