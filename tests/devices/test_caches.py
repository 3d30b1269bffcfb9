"""What caches a rank has, its share of walking over them, and the order of a cold sample."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nvrar_bench.devices import machine, native
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.machine import UNKNOWN_BYTES, Caches, caches_of, share_bytes
from nvrar_bench.devices.native import CacheFlush
from nvrar_bench.timing.loop import MONOTONIC, Timings

MIB = 1 << 20


def place(root: Path, cpu: int, index: int, **said: object) -> None:
    folder = root / f"cpu{cpu}" / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, text in said.items():
        (folder / name).write_text(f"{text}\n")


@pytest.fixture
def two_sockets(tmp_path):
    """Four CPUs: L1 of 32K and L2 of 1M each, an L3 of 16M for each two."""
    for cpu in range(4):
        own, pair = str(cpu), "0-1" if cpu < 2 else "2-3"
        place(tmp_path, cpu, 0, type="Data", level=1, size="32K", shared_cpu_list=own)
        place(tmp_path, cpu, 1, type="Instruction", level=1, size="64M", shared_cpu_list=own)
        place(tmp_path, cpu, 2, type="Unified", level=2, size="1024K", shared_cpu_list=own)
        place(tmp_path, cpu, 3, type="Unified", level=3, size="16M", shared_cpu_list=pair)
    return tmp_path


def test_sysfs_says_which_caches_the_cores_have(two_sockets):
    assert caches_of({0}, two_sockets) == Caches(16 * MIB, MIB, frozenset({"0-1"}), "sysfs")
    whole = caches_of({0, 1, 2, 3}, two_sockets)
    assert whole.last == {"0-1", "2-3"}
    assert (whole.last_bytes, whole.own_bytes) == (16 * MIB, MIB)


def test_a_cache_that_says_nothing_readable_is_passed_over(two_sockets):
    (two_sockets / "cpu0" / "cache" / "index3" / "size").write_text("much\n")
    (two_sockets / "cpu0" / "cache" / "index2" / "level").unlink()
    assert caches_of({0}, two_sockets) == Caches(32 << 10, 0, frozenset({"0"}), "sysfs")


def test_without_sysfs_sysconf_is_asked_and_else_a_size_is_assumed(tmp_path, monkeypatch):
    known = {"SC_LEVEL4_CACHE_SIZE": 0, "SC_LEVEL3_CACHE_SIZE": 8 * MIB}
    monkeypatch.setattr(machine.os, "sysconf", lambda name: known[name])
    assert caches_of({0}, tmp_path) == Caches(8 * MIB, 0, frozenset({"all"}), "sysconf")

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(machine.os, "sysconf", unknown)
    assert caches_of({0}, tmp_path) == Caches(UNKNOWN_BYTES, 0, frozenset({"all"}), "assumed")
    assert UNKNOWN_BYTES == 64 * MIB


def ranks(*last: str, size: int = 16 * MIB) -> list[Caches]:
    """One rank for each text: the last-level caches that it may use."""
    return [Caches(size, MIB, frozenset(names.split()), "sysfs") for names in last]


@pytest.mark.parametrize(
    ("everyone", "shares_mib"),
    [
        (ranks("a"), [32]),
        (ranks("a", "a"), [16, 16]),
        (ranks("a", "b"), [32, 32]),
        (ranks("a", "a", "a", "a", "b"), [8, 8, 8, 8, 32]),
        (ranks("a b", "a b"), [32, 32]),  # wherever they run
        (ranks("a b", "a b", "a b", "a b"), [16] * 4),
        (ranks("a b c d"), [32]),  # one rank runs in one place
        (ranks(*["a"] * 64), [2] * 64),  # its own caches too
    ],
)
def test_all_ranks_together_turn_each_last_level_cache_over(everyone, shares_mib):
    assert [share_bytes(mine, everyone) / MIB for mine in everyone] == shares_mib


def test_shares_are_never_short_by_a_rest():
    everyone = ranks(*["a"] * 3, size=10 * MIB)
    assert sum(share_bytes(mine, everyone) for mine in everyone) >= 20 * MIB


def test_every_word_is_read_and_written():
    flush = CacheFlush(ranks("a")[0], 8001)
    for _ in range(3):
        flush()
    assert flush._memory.nbytes == 8008
    assert (flush._memory == 3).all()
    assert flush.walked == 3 * 8008


class Call:
    """An operation that notes how much was walked over when it ran."""

    variant, warnings, stream_ordered, clock = "call", (), False, staticmethod(MONOTONIC)
    native = None

    def __init__(self, note):
        self.launch = note


def test_caches_are_flushed_after_preparing_and_before_the_gate(alone, monkeypatch):
    monkeypatch.setattr(native, "caches_of", lambda cpus: ranks("a", size=MIB)[0])
    device = CpuDevice(alone, 1.0, cold_cache=True)
    share = device.facts()["cold_cache_walked_bytes"]
    seen = []

    def note(what):
        return lambda: seen.append((what, device._flush.walked // share))

    class Noting:
        agreed_ns = 0
        __call__ = staticmethod(note("gate"))

    device.timer.time_calls(Call(note("call")), note("prepare"), Noting(), Timings.empty(3))
    steps = (("prepare", 0), ("gate", 1), ("call", 1))
    assert seen == [(what, i + flushed) for i in range(3) for what, flushed in steps]
    assert share == 2 * MIB


def test_the_facts_name_the_cache_and_the_bytes(alone):
    assert CpuDevice(alone, 1.0).facts() == {"cold_cache": False}
    mine = caches_of(os.sched_getaffinity(0))
    assert CpuDevice(alone, 1.0, cold_cache=True).facts() == {
        "cold_cache": True,
        "cold_cache_walked_bytes": 2 * mine.last_bytes,
        "last_level_cache_bytes": mine.last_bytes,
        "last_level_cache_from": mine.source,
    }
