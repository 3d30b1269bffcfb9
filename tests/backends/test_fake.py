"""The backend with its own clock: right results, exact times, and the mishaps it can be told."""

from __future__ import annotations

import numpy as np
import pytest

from nvrar_bench.backends.fake import FakeBackend, Script
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import Shape
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.verify import KnownReduction, check


@pytest.fixture
def prepare(alone):
    """An operation of one case, and its output."""

    def make(count: int = 1000, dtype: str = "float32", op: str = "sum"):
        (case,) = build_plan(dtypes=(dtype,), ops=(op,), counts=(count,))
        send = KnownReduction(dtype, op, 1, "exact", 0).inputs(0, count)
        recv = np.zeros_like(send)
        backend = FakeBackend(alone, CpuDevice(alone, 1.0), 1.0)
        return backend.prepare(case, send, recv), recv

    return make


def test_times_are_exact(prepare):
    operation, _ = prepare(count=1000)
    times = []
    for _ in range(13):
        before = operation.clock()
        operation.launch()
        times.append(operation.clock() - before)
    # 10 us + 4000 bytes at 10 GB/s, a cycle of 11 calls up to 10 % slower.
    assert times == [
        10400, 10504, 10608, 10712, 10816, 10920, 11024, 11128, 11232, 11336, 11440, 10400, 10504,
    ]  # fmt: skip


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_right(prepare, dtype, op):
    operation, recv = prepare(count=100, dtype=dtype, op=op)
    operation.launch()
    expected = KnownReduction(dtype, op, 1, "exact", 0).expected(100)
    assert check(recv, expected, 100, 0).status == "passed"


def test_scale_makes_it_slower(prepare, monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_FAKE", "scale=1.5")
    operation, _ = prepare(count=1000)
    operation.launch()
    assert operation.clock() == 15600


def test_launches_take_longer_the_farther_they_are_from_the_best(alone, monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_FAKE", "best=2,refused=8")
    backend = FakeBackend(alone, CpuDevice(alone, 1.0), 1.0)
    (case,) = build_plan(counts=(1000,))
    buffer = np.zeros(1000, np.float32)

    def clock(blocks: int) -> int:
        chosen = backend.chooser.shaped(Shape("packet", blocks, 1, 1024, 2), case)
        operation = backend.prepare_as(chosen, case, buffer, buffer)
        operation.launch()
        return operation.clock()

    assert [clock(blocks) for blocks in (1, 2, 4)] == [11440, 10400, 11440]
    with pytest.raises(UsageError, match="8 blocks are more than NVRAR_BENCH_FAKE lets run"):
        clock(8)


def test_wrong_spoils_one_element(prepare, monkeypatch):
    right, recv = prepare()
    right.launch()
    monkeypatch.setenv("NVRAR_BENCH_FAKE", "wrong=17")
    wrong, spoiled = prepare()
    wrong.launch()
    assert np.flatnonzero(recv != spoiled).tolist() == [17]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("", Script()),
        ("scale=1.1", Script(scale=1.1)),
        ("wrong=17,hang=5,", Script(wrong=17, hang=5)),
        ("best=4,refused=8", Script(best=4, refused=8)),
    ],
)
def test_script(text, script):
    assert Script.read(text) == script


@pytest.mark.parametrize(
    ("text", "item"), [("slow=2", "slow=2"), ("scale=fast", "scale=fast"), ("wrong=1,hang", "hang")]
)
def test_a_script_that_makes_no_sense_is_refused(text, item):
    with pytest.raises(UsageError) as caught:
        Script.read(text)
    assert str(caught.value) == (
        f"NVRAR_BENCH_FAKE={text}: {item!r} is not allowed; allowed: scale=FACTOR, wrong=INDEX, "
        "hang=CALL, best=BLOCKS, refused=BLOCKS, separated by commas"
    )
