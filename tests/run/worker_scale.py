"""A rank of a `fake` sweep that counts the bytes which collectives bring to it.

worker_scale.py FILE RECORD: rank 0 writes the count to FILE, and the record of the run to RECORD.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from mpi4py import MPI

from nvrar_bench.report import Shown
from nvrar_bench.run.as_rank import run_as_rank
from nvrar_bench.settings.options import SweepOptions
from nvrar_bench.settings.planning import sweep_settings

RECEIVED: list[int] = []


class Counted(MPI.Intracomm):
    """COMM_WORLD, where results are weighed; communicators made of it are of this kind as well."""

    def allgather(self, value: Any) -> list[Any]:
        return weighed(super().allgather(value))

    def bcast(self, value: Any, root: int = 0) -> Any:
        return weighed(super().bcast(value, root))

    def recv(self, *how: Any, **where: Any) -> Any:
        return weighed(super().recv(*how, **where))

    def Gather(self, send: Any, recv: Any, root: int = 0) -> None:  # noqa: N802 - MPI's names
        super().Gather(send, recv, root)
        RECEIVED.append(0 if recv is None else recv.nbytes)

    def Bcast(self, data: Any, root: int = 0) -> None:  # noqa: N802
        super().Bcast(data, root)
        RECEIVED.append(data.nbytes)

    def Allreduce(self, send: Any, recv: Any, op: Any = MPI.SUM) -> None:  # noqa: N802
        super().Allreduce(send, recv, op)
        RECEIVED.append(recv.nbytes)


def weighed(result: Any) -> Any:
    RECEIVED.append(len(pickle.dumps(result)))
    return result


def main() -> None:
    MPI.COMM_WORLD = Counted(MPI.COMM_WORLD)
    is_rank_0 = MPI.COMM_WORLD.rank == 0
    settings = sweep_settings(SweepOptions(backend="fake", sizes="1K", iters=5))
    run_as_rank(settings, Path(sys.argv[2]), Shown("table"))
    if is_rank_0:
        Path(sys.argv[1]).write_text(str(sum(RECEIVED)))


if __name__ == "__main__":
    main()
