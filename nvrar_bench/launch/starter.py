"""Who starts ranks. Each rank asks and none starts any, so nothing that starts them is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Starter:
    """Who starts ranks: mpirun, with `ranks` of this machine, or the user's `command`."""

    ranks: int | None = None
    command: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ranks is not None or bool(self.command)
