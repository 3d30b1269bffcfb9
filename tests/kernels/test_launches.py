"""Launches of several blocks of several threads for each virtual rank, on CPU threads."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from nvrar_bench.backends.nvrar.backend import FLAG_SPAN, NvrarBackend
from nvrar_bench.backends.nvrar.cpu import EmulatedEngine
from nvrar_bench.backends.nvrar.layout import plan_steps
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import TimedOut
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.toolchain.kernel import DOUBLING, EXCHANGES, HALVING, ONE_SHOT, kernels_dir
from nvrar_bench.verify import Expected, KnownReduction, canary_intact

TIMEOUT_S = 30.0
ROOM = 300_000
BYTE = np.dtype(np.uint8)


class Job:
    """All ranks of one launch, and their buffers with a canary behind each output."""

    def __init__(self, alone, ranks: int, nodes: int, tuning: Tuning) -> None:
        world = alone.with_virtual_ranks(ranks).with_nodes(nodes)
        self.device = CpuDevice(world, TIMEOUT_S)
        engine = EmulatedEngine(world, self.device)
        self.backend = NvrarBackend(world, engine, TIMEOUT_S, tuning)
        self.blocks = {
            (kind, end): self.device.memory.allocate(ROOM, kind)
            for kind in ("symmetric", "private")
            for end in ("send", "recv")
        }
        self.calls = 0

    def call(self, case) -> list[int]:
        """Make one call; how many elements are wrong on each rank."""
        ranks = self.device.world.size
        dtype = np.dtype(f"V{case.size_bytes // case.count}")
        problem = KnownReduction(case.dtype, case.op, ranks, "exact", self.calls)
        inputs = np.stack([problem.inputs(rank, case.count) for rank in range(ranks)])
        dtype = inputs.dtype
        send = self.blocks[case.buffers, "send"].view(64, case.size_bytes, dtype)
        recv = send
        if case.placement == "out_of_place":
            recv = self.blocks[case.buffers, "recv"].view(64, case.size_bytes, dtype)
        np.copyto(send, inputs)
        end = "send" if recv is send else "recv"
        guard = self.blocks[case.buffers, end].view(64 + case.size_bytes, 64, BYTE)
        self.device.verifier.spoil(recv, (guard,), poison=recv is not send)
        self.backend.prepare(case, send, recv).launch()
        self.calls += 1
        found = self.device.verifier.check(recv, problem.expected(case.count), (guard,))
        assert found.intact
        return [result.wrong for result in found.results]


def cases(counts, **axes):
    choices = {
        "protocols": ("signal", "packet"),
        "buffers": ("symmetric", "private"),
        "placements": ("out_of_place", "in_place"),
    }
    return build_plan(counts=counts, **(choices | axes))


SHAPES = [(2, 1), (3, 3), (4, 2), (5, 1), (6, 3), (8, 4), (8, 2), (11, 11), (12, 6), (16, 4)]
LAUNCHES = [Tuning(1, 1), Tuning(3, 2, 1024), Tuning(2, 3, 2048), Tuning(4, 1, 4096)]


@pytest.mark.parametrize("tuning", LAUNCHES, ids=lambda t: f"{t.blocks}x{t.threads}")
@pytest.mark.parametrize(("ranks", "nodes"), SHAPES)
def test_every_launch_of_every_shape(alone, ranks, nodes, tuning):
    if ranks * tuning.blocks * tuning.threads > 64:
        pytest.skip("more threads than this test wants")
    job = Job(alone, ranks, nodes, tuning)
    counts = (1, ranks - 1, ranks + 1, 1023, 1025, 4099, 33_000, 1)
    for case in cases(counts):
        assert job.call(case) == [0] * ranks, case


@pytest.mark.parametrize(("ranks", "nodes"), [(2, 1), (8, 4)])
def test_kernels_of_one_shape(alone, monkeypatch, ranks, nodes):
    """Those that GPUs have for usual shapes, from the same source."""
    radix = 1 if nodes == 1 else 2
    load = EmulatedEngine._load
    shape = {"ranks_per_node": ranks // nodes, "radix": radix}
    monkeypatch.setattr(
        EmulatedEngine, "_load", lambda self, all_: load(self, [replace(k, **shape) for k in all_])
    )
    job = Job(alone, ranks, nodes, Tuning(2, 3, 2048))
    for case in cases((1, 1023, 4099, 33_000, 1)):
        assert job.call(case) == [0] * ranks, case


@pytest.mark.parametrize(
    ("dtype", "op"),
    [("bfloat16", "sum"), ("float8_e4m3", "max"), ("int8", "prod"), ("uint64", "avg"),
     ("float64", "min"), ("float16", "avg")],
)  # fmt: skip
def test_types_in_blocks_of_threads(alone, dtype, op):
    job = Job(alone, 4, 2, Tuning(2, 3, 1024))
    for case in cases((1, 15, 1021, 4097), dtypes=(dtype,), ops=(op,)):
        assert job.call(case) == [0] * 4, case


def test_launches_of_every_shape_in_turn(alone):
    """The number of blocks and the chunks change from call to call; flags and epochs go on."""
    job = Job(alone, 4, 2, Tuning())
    plan = list(cases((5, 2000, 20_000)))
    for round_, case in product(range(3), plan):
        job.backend.tuning = LAUNCHES[(round_ + job.calls) % len(LAUNCHES)]
        assert job.call(case) == [0] * 4, case
    epochs = job.backend.epochs.read()
    assert set(epochs) == {job.backend._epoch}


def test_flags_wrap(alone):
    first = FLAG_SPAN - 20
    job = Job(alone, 6, 3, Tuning(2, 2, 1024, first_epoch=first))
    for case in list(cases((7, 3000))) * 3:
        assert job.call(case) == [0] * 6, case
    assert job.backend._epoch > FLAG_SPAN


def test_options_of_a_radix(alone):
    job = Job(alone, 8, 8, Tuning(1, 1, radix=8))
    assert job.backend.tuning.schedules(8, 1) == {plan_steps(8, 8)}
    for case in cases((1, 1000)):
        assert job.call(case) == [0] * 8, case


@pytest.mark.parametrize(
    ("ranks", "nodes", "tuning"),
    [
        (2, 2, Tuning(2, 2, 1024)),
        (3, 3, Tuning(3, 2, 1024)),
        (8, 4, Tuning(2, 2, 2048)),
        (5, 5, Tuning(2, 3, 2048)),
        (6, 6, Tuning(2, 1, 1024)),
        (7, 7, Tuning(1, 2, 4096)),
        (8, 8, Tuning(2, 1, 1024)),
        (8, 8, Tuning(1, 1, 1024, radix=4)),
        (11, 11, Tuning(1, 2, 1024)),
    ],
    ids=lambda value: f"{value.blocks}x{value.threads}" if isinstance(value, Tuning) else None,
)
def test_halving(alone, ranks, nodes, tuning):
    job = Job(alone, ranks, nodes, replace(tuning, exchange="halving"))
    for case in cases((1, ranks + 1, 1023, 33_000, 1)):
        assert job.call(case) == [0] * ranks, case


@pytest.mark.parametrize(
    ("ranks", "tuning"),
    [(2, Tuning(2, 2, 1024)), (5, Tuning(3, 2, 2048)), (6, Tuning(2, 1, radix=2))],
)
def test_one_shot(alone, ranks, tuning):
    job = Job(alone, ranks, 1, replace(tuning, exchange=ONE_SHOT))
    for case in cases((1, ranks + 1, 1023, 75_000, 1)):
        assert job.call(case) == [0] * ranks, case


@pytest.mark.parametrize(
    ("ranks", "nodes", "exchanges"),
    [(3, 3, EXCHANGES), (8, 4, EXCHANGES), (11, 11, EXCHANGES), (5, 1, (DOUBLING, ONE_SHOT))],
)
def test_every_exchange_gives_the_same_bits(alone, ranks, nodes, exchanges):
    """Sums that depend on their order are the same on all ranks."""
    job = Job(alone, ranks, nodes, Tuning(2, 1, 1024))
    axes = {"protocols": ("signal", "packet"), "dtypes": ("float32", "bfloat16"), "ops": ("avg",)}
    seen = {}
    for exchange, case in product(exchanges, build_plan(counts=(1009,), **axes)):
        job.backend.tuning = Tuning(2, 1, 1024, exchange=exchange)
        problem = KnownReduction(case.dtype, case.op, ranks, "rounding", 7)
        inputs = np.stack([problem.inputs(rank, case.count) for rank in range(ranks)])
        send, recv = (
            job.blocks["symmetric", end].view(64, case.size_bytes, inputs.dtype)
            for end in ("send", "recv")
        )
        np.copyto(send, inputs)
        job.backend.prepare(case, send, recv).launch()
        bits = {of_rank.tobytes() for of_rank in recv}
        assert len(bits) == 1, case
        seen.setdefault(case.dtype, set()).update(bits)
    assert {dtype: len(bits) for dtype, bits in seen.items()} == {"float32": 1, "bfloat16": 1}


def test_radices_that_change_from_call_to_call(alone):
    """Each schedule has its own staging memory, and all share one sequence of epochs."""
    job = Job(alone, 8, 4, Tuning())
    for round_, case in product(range(4), list(cases((3, 5000)))):
        radix, exchange = ((2, DOUBLING), (4, DOUBLING), (2, HALVING))[(round_ + job.calls) % 3]
        job.backend.tuning = Tuning(2, 1, 1024, radix, exchange)
        assert job.call(case) == [0] * 8, case
    assert len(job.backend._staging) == 6
    assert set(job.backend.epochs.read()) == {job.backend._epoch}


def test_a_rank_that_stops_ends_all_waits(alone):
    """A failure is told once, and every other wait of that rank ends with it."""
    job = Job(alone, 2, 1, Tuning(2, 2, 1024))
    job.backend.timeout = 0.5
    (case,) = build_plan(counts=(5000,), protocols=("signal",), buffers=("private",))
    send = job.blocks["private", "send"].view(64, case.size_bytes, np.dtype("f4"))
    operation = job.backend.prepare(case, send, send)
    operation.seats[1].count = 0  # rank 1 leaves at once
    launch = job.backend.engine.bind(
        job.backend.kernel(case), operation.seats,
        job.backend.chooser.choose(job.backend.tuning, case).shape,
    )  # fmt: skip
    launch()
    with pytest.raises(
        TimedOut, match=r"^NVRAR gave up after 0.5 s on rank 0 .* waiting for rank 1"
    ):
        operation.confirm()


def test_canaries_are_seen(alone):
    job = Job(alone, 2, 1, Tuning(1, 1))
    guard = job.blocks["private", "recv"].view(0, 64, BYTE)
    output = job.blocks["private", "recv"].view(64, 64, BYTE)
    job.device.verifier.spoil(output, (guard,))
    assert canary_intact(guard[1])
    right = Expected(output[0], None)
    assert job.device.verifier.check(output, right, (guard,)).intact
    guard[1, 3] ^= 1
    assert not job.device.verifier.check(output, right, (guard,)).intact


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Kernels whose ranks reach those of other nodes by block-wide puts alone."""
    sources = tmp_path / "kernels"
    shutil.copytree(kernels_dir(), sources)
    header = sources / "fabric" / "mapped.cuh"
    text = header.read_text()
    for old, new in {
        "kPutsFromStaging = false": "kPutsFromStaging = true",
        "is_mapped(u32) const { return true; }": "is_mapped(u32 rank) const { return "
        "rank / arguments.ranks_per_node == arguments.rank / arguments.ranks_per_node; }",
    }.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    # A source that is not in one's own staging memory is not sent.
    guard = (
        "const u8* own = staging(arguments.rank); const u8* from = static_cast<const u8*>(source); "
        "if (from < own || from >= own + 2 * arguments.layout.parity_bytes) return;\n        "
    )
    local = text[text.index("struct LocalFabric") :]
    guarded = local.replace("copy_and_signal(rank", f"{guard}copy_and_signal(rank")
    words = (  # a network keeps 8 bytes whole
        "for (u64 i = thread_index(); i < bytes / 8; i += thread_count()) "
        "Flag(reinterpret_cast<u64*>(staging(rank) + offset)[i])"
        ".store(reinterpret_cast<const u64*>(source)[i], cuda::memory_order_relaxed);"
    )
    guarded = guarded.replace("copy(staging(rank) + offset, source, bytes);", guard + words)
    assert guarded.count(guard) == 2
    text = text.replace(local, guarded)
    header.write_text(text)
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(sources))
    monkeypatch.setattr(EmulatedEngine, "all_mapped", False)


@pytest.mark.parametrize("tuning", LAUNCHES[:3], ids=lambda t: f"{t.blocks}x{t.threads}")
@pytest.mark.parametrize(
    ("ranks", "nodes", "exchange"),
    [
        (2, 2, DOUBLING), (4, 2, DOUBLING), (6, 3, DOUBLING), (11, 11, DOUBLING), (8, 4, DOUBLING),
        (6, 3, HALVING), (4, 4, HALVING), (11, 11, HALVING),
    ],
)  # fmt: skip
def test_ranks_that_are_not_mapped(alone, network, ranks, nodes, exchange, tuning):
    job = Job(alone, ranks, nodes, replace(tuning, exchange=exchange))
    for case in cases((1, ranks + 1, 1023, 4099, 33_000, 1)):
        assert job.call(case) == [0] * ranks, case
