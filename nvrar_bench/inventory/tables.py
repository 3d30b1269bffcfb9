"""Everything that is looked for, in the order in which it is shown."""

from __future__ import annotations

from nvrar_bench.inventory import cpu, cuda, launchers, libraries, mpi, network, package
from nvrar_bench.inventory.abilities import QUESTIONS, Question
from nvrar_bench.inventory.probe import Probe

_ROOMS = (package, mpi, cpu, cuda, libraries, network, launchers)
PROBES: tuple[Probe, ...] = tuple(probe for room in _ROOMS for probe in room.PROBES)

Step = Probe | Question
STEPS: tuple[Step, ...] = (*PROBES, *QUESTIONS)
