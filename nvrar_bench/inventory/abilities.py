"""Which devices, and which backends on them, this machine can run: by what a run itself asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from nvrar_bench import backends, devices
from nvrar_bench.backends import NAMES as BACKENDS
from nvrar_bench.documents.inventory import Ability, Inventory
from nvrar_bench.errors import Problem, Unavailable
from nvrar_bench.inventory.network import group
from nvrar_bench.inventory.probe import explained, parts

_BUILD_S = 30.0  # the first time, a start gate is compiled, which a run would do else


@dataclass(frozen=True)
class Question:
    """An ability to be: `ask` says what stands against it, None if nothing does."""

    device: str
    backend: str | None
    ask: Callable[[], str | None]
    limit: float = _BUILD_S  # seconds

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.backend} on {self.device}" if self.backend else self.device

    def take(self) -> list[Ability]:
        """Ask; whatever is raised stands against it."""
        try:
            problem = self.ask()
        except Exception as error:
            problem = explained(error)
        return [self.failed(problem)]

    def failed(self, problem: str | None) -> Ability:
        """The ability with this against it."""
        return Ability.of(self.device, self.backend, *parts(problem))


def _cpu() -> None:
    """MPI, and the kernel that every run on CPU ranks loads first."""
    from nvrar_bench.launch.initialize import load_mpi
    from nvrar_bench.toolchain import host
    from nvrar_bench.toolchain.kernel import StartGate

    load_mpi()
    host.load(host.build(StartGate()))


def _cuda() -> str | None:
    """MPI, a driver and GPUs, MPS where it is on, and the kernel that every run loads first."""
    from nvrar_bench.devices.cuda import driver
    from nvrar_bench.devices.cuda.calls import mps_problem
    from nvrar_bench.launch.initialize import load_mpi

    load_mpi()
    problem = driver.missing() or mps_problem(driver.require())
    if problem is None:
        _build_gate()
    return problem


def _build_gate() -> None:
    from nvrar_bench.devices.cuda import driver
    from nvrar_bench.toolchain import cuda
    from nvrar_bench.toolchain.kernel import CudaGate

    calls = driver.require()
    ordinals = range(int(calls.cuDeviceGetCount()))
    for arch in sorted({driver.describe(calls, ordinal).arch for ordinal in ordinals}):
        cuda.build(CudaGate(), arch)


def _backend(name: str, device: str) -> str | None:
    from nvrar_bench.backends import registry

    return registry.BACKENDS[name].lacks(device)


_ASK_DEVICE = {"cpu": _cpu, "cuda": _cuda}
QUESTIONS = tuple(
    Question(device, backend, partial(_backend, backend, device) if backend else ask)
    for device, ask in _ASK_DEVICE.items()
    for backend in (None, *BACKENDS)
)


def require(inventory: Inventory, device: str, wanted: Sequence[str]) -> None:
    """Refuse a device, or a backend on it, that this machine cannot run (Unavailable).

    `auto` is cuda where it can run, else cpu, and is nothing that is asked for by name.
    """
    chosen = device
    if device == "auto":
        chosen = "cuda" if inventory.ability("cuda").can_run else "cpu"
    problem = inventory.ability(chosen).problem
    if device != "auto" and problem:
        raise devices.unavailable(device, problem)
    for name in wanted:
        problem = inventory.ability(chosen, name).problem
        if problem:
            raise backends.unavailable(name, problem)


def require_network(inventory: Inventory, name: str) -> None:
    """Refuse a network that this machine lacks something for (Unavailable)."""
    for row in inventory.rows:
        if row.group == group(name) and row.status != "here":
            problem = row.problem or row.status
            said = Problem(problem, row.fix) if row.fix else problem
            raise Unavailable(f"--network {name}: {row.name}: {said}")
