"""MPI_Allreduce through the seam that all backends share."""

from __future__ import annotations

from pathlib import Path

from nvrar_bench.datatypes import DTYPES

WORKER = Path(__file__).parent / "worker_mpi.py"


def test_every_type_and_op_that_mpi_has(run_ranks):
    done = run_ranks(3, WORKER)
    assert done.code == 0, done.stderr[-4000:]
    sizes = {name: row.itemsize for name, row in DTYPES.items() if row.mpi}
    assert done.record() == {"calls": 8 * 4 * 2 * 2, "problems": [], "sizes": sizes}
