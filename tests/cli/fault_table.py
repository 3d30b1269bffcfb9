"""The table of faults: what one rank does, at which moment, and how the run must end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from broken import MOMENTS

# Two cases, of which the first has ended when the second goes wrong.
SIZES = (1024, 2048)  # in two phases: smaller messages go in one shot
CASES = "".join(f'[[sweep]]\nname = "of {size}"\nsizes = [{size}]\n' for size in SIZES)
RESULTS = {
    "import": 0,
    "start-up": 0,
    "opening": 0,
    "kernel": 1,
    "timed": 1,
    "last": 2,
    "finalize": 2,
}
# A few cells that between them have every moment, every fault, and both victims.
QUICK = {
    "import never 1", "start-up stopped 0", "opening raises 1", "kernel killed 1",
    "kernel segfault 0", "timed never 1", "timed slow 0", "last stopped 1", "finalize never 0",
}  # fmt: skip
# What must be said of a rank that others wait for, by its fault and then by the moment.
STOPPED = "is stopped, by SIGSTOP or a debugger"
ABSENT = "has not come to MPI start-up"
WAITED = {
    "start-up": "in MPI start-up",
    "opening": "in opening the backends",
    "kernel": "phase all-gather, step 0, waiting for rank {}, chunk 0, expected flag ",
    "timed": "phase reduce-scatter, step 0, waiting for rank {}, chunk 0, expected flag ",
    "last": "in the writing of results",
    "finalize": "in MPI_Finalize",
}


@dataclass(frozen=True)
class Cell:
    """One run: `fault` of rank `victim` of three at `moment`."""

    moment: str
    fault: str
    victim: int

    def __str__(self) -> str:
        return f"{self.moment} {self.fault} {self.victim}"

    @property
    def before_start(self) -> bool:
        """The rank ends before it has a supervisor: its launcher alone knows of it."""
        return self.moment == "import" and self.fault in ("killed", "segfault", "raises")

    @property
    def code(self) -> int:
        return {"slow": 0, "raises": 1}.get(self.fault, 4)

    @property
    def status(self) -> str:
        """What the record says; rank 0 closes it, where it lives."""
        if self.fault == "slow" or self.moment == "finalize":
            return "complete"
        lost = self.fault in ("killed", "segfault", "stopped")
        return "interrupted" if lost and self.victim == 0 else "failed"

    @property
    def results(self) -> int | None:
        """How many finished cases are in the record; None where none is begun."""
        if self.fault == "slow":
            return len(SIZES)
        return None if self.moment in ("import", "start-up") else RESULTS[self.moment]

    def words(self, host: str) -> list[str]:
        """What the one message must hold."""
        rank = f"rank {self.victim} on host {host}"
        if self.fault == "killed":
            return [f"{rank} was killed by SIGKILL"]
        if self.fault == "segfault":
            return [f"{rank} was killed by SIGSEGV"]
        if self.fault == "raises":
            return [f"unexpected RuntimeError: two lines, on {rank}"]
        how = [f"{rank} (pid ", STOPPED if self.fault == "stopped" else ""]
        if self.moment == "import":
            return [*how, "" if self.fault == "stopped" else ABSENT]
        return [*how, WAITED[self.moment].format(self.victim)]


def cells(faults: Any, which: str = "") -> list[Cell]:
    """The table, or a part of it: `all`, `quick`, else one of both victims of each fault in turn.

    An exception cannot be raised in the kernel.
    """
    kinds = [
        (moment, fault)
        for moment in MOMENTS
        for fault in faults
        if (moment, fault) != ("kernel", "raises")
    ]
    whole = [Cell(*kind, victim) for kind in kinds for victim in (1, 0)]
    if which == "all":
        return whole
    if which == "quick":
        return [cell for cell in whole if str(cell) in QUICK]
    return [Cell(*kind, number % 2) for number, kind in enumerate(kinds)]
