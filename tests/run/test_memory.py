"""A plan that does not fit is refused before anything is allocated."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import Plan
from nvrar_bench.run.buffers import SHARE, STAGING_BYTES, needed, require_enough
from nvrar_bench.settings.plans import build_plan

GIB = 1 << 30


class Ranks:
    """The host's communicator, as seen by its first rank."""

    rank = 0

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = []

    def send(self, outcome: object, **_: int) -> None:
        self.sent.append(outcome)


@pytest.fixture
def device(alone):
    return CpuDevice(replace(alone, host_comm=Ranks(4)), 1.0)


@pytest.fixture
def free(device, monkeypatch):
    """`free(nbytes)`: so much may be used, of what the machine has."""

    def give(nbytes: int) -> None:
        monkeypatch.setattr(device.memory, "available", lambda: -(-nbytes // SHARE) + 1)

    return give


def plan(*sizes: int, mode: str = "exact", dtype: str = "float32") -> Plan:
    return build_plan(sizes, dtypes=(dtype,), check_modes=(mode,))


@pytest.mark.parametrize(
    ("mode", "dtype", "nbytes"),
    [
        ("exact", "float32", 6 * 4096),
        ("exact", "int8", 6 * 4096),
        # Two results of float64, each with its tolerance.
        ("rounding", "float32", 4 * 4096 + 4 * 8 * 1024),
        ("rounding", "float16", 4 * 4096 + 4 * 8 * 2048),
    ],
)
def test_bytes_of_a_rank(mode, dtype, nbytes):
    (case,) = plan(4096, mode=mode, dtype=dtype)
    assert needed(case) == nbytes


def test_the_largest_case_decides(device, free):
    per_rank = 6 * GIB + STAGING_BYTES
    plans = [plan(4096), plan(GIB, 1 << 20)]
    free(4 * per_rank)
    require_enough(plans, device)
    free(4 * per_rank - 4096)
    with pytest.raises(
        UsageError, match=r"^size 1G \(--max or --sizes\) does not fit: 4 ranks on "
    ):
        require_enough(plans, device)
    assert device.world.host_comm.sent[:3] == [None] * 3
    assert [type(outcome) for outcome in device.world.host_comm.sent[3:]] == [UsageError] * 3


def test_nothing_is_staged_without_nvrar(device, free):
    free(4 * 6 * GIB)
    require_enough([plan(GIB)], device, staging=0)


@pytest.mark.parametrize("mode", ["exact", "rounding"])
def test_what_the_message_suggests_does_fit(device, free, mode):
    free(20 * GIB)
    with pytest.raises(UsageError) as caught:
        require_enough([plan(64 * GIB, mode=mode)], device)
    suggested = re.search(r"allowed: up to about ([\d.]+)G$", str(caught.value))
    least = float(suggested[1]) * GIB * 0.99 // 4 * 4  # it is rounded to two digits
    require_enough([plan(int(least), mode=mode)], device)
