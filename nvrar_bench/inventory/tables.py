"""Everything that is looked for, in the order in which it is shown."""

from __future__ import annotations

from nvrar_bench.inventory import cpu, cuda, launchers, libraries, mpi, needs, network, package
from nvrar_bench.inventory.abilities import QUESTIONS, Question
from nvrar_bench.inventory.probe import Probe
from nvrar_bench.networks.table import Network

_ROOMS = (package, mpi, cpu, cuda, libraries, network, launchers)
PROBES: tuple[Probe, ...] = tuple(probe for room in _ROOMS for probe in room.PROBES)

Step = Probe | Question
STEPS: tuple[Step, ...] = (*PROBES, *QUESTIONS)


def steps(network: Network | None = None) -> tuple[Step, ...]:
    """All steps; what `network` needs, if one is asked for, before what can run."""
    if network is None:
        return STEPS
    return (*PROBES, *needs.probes(network.name, network.needs), *QUESTIONS)
