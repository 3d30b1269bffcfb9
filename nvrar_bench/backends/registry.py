"""The backends by name: why one cannot be used here, or how to open it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nvrar_bench.backends import nccl
from nvrar_bench.backends.base import Backend
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import Unavailable
from nvrar_bench.world import World


@dataclass(frozen=True)
class Entry:
    """One backend: `missing` says what it lacks in a world (None: nothing), `open` makes it."""

    missing: Callable[[World], str | None]
    open: Callable[[World, CpuDevice, float], Backend]
    by_default: bool = True


def _nothing_missing(_: World) -> None:
    return None


def _nvrar_missing(world: World) -> str | None:
    if world.machines > 1:
        return (
            f"on the cpu device NVRAR reaches the ranks of one machine, and this job runs on "
            f"{world.machines}; between machines it needs the cuda device"
        )
    return None


def _open_mpi(world: World, device: CpuDevice, timeout: float) -> Backend:
    from nvrar_bench.backends.mpi import MpiBackend

    return MpiBackend(world, device, timeout)


def _open_nvrar(world: World, device: CpuDevice, timeout: float) -> Backend:
    from nvrar_bench.backends.nvrar.backend import NvrarBackend

    return NvrarBackend(world, device, timeout)


def _open_fake(world: World, device: CpuDevice, timeout: float) -> Backend:
    from nvrar_bench.backends.fake import FakeBackend

    return FakeBackend(world, device, timeout)


def _open_nccl(*_: object) -> Backend:
    raise Unavailable(f"nccl: {nccl.missing()}")


BACKENDS = {
    "nccl": Entry(lambda _: nccl.missing(), _open_nccl),
    "mpi": Entry(_nothing_missing, _open_mpi),
    "nvrar": Entry(_nvrar_missing, _open_nvrar),
    "fake": Entry(_nothing_missing, _open_fake, by_default=False),
}


def open_backends(
    names: Sequence[str], world: World, device: CpuDevice, timeout: float
) -> tuple[list[Backend], list[tuple[str, str]]]:
    """Open the backends asked for; without names, all that are there.

    Returns:
        the backends, and (name, reason) of those that are not there. Collective.

    Raises:
        Unavailable: a backend asked for by name is not there.
    """
    chosen = names or [name for name, entry in BACKENDS.items() if entry.by_default]
    reasons = {name: BACKENDS[name].missing(world) for name in chosen}
    absent = [(name, reason) for name, reason in reasons.items() if reason]
    if names and absent:
        name, reason = absent[0]
        raise Unavailable(f"--backend {name} is not available: {reason}")
    opened = [BACKENDS[n].open(world, device, timeout) for n in chosen if not reasons[n]]
    return opened, absent
