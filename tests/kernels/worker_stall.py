"""Calls with nothing between them, on 4 ranks as 2 x 2: a stall lets other ranks run ahead.

worker_stall.py PROTOCOL BYTES...
"""

from __future__ import annotations

import sys

import numpy as np
from mpi4py import MPI

import nvrar_bench

CALLS = 4


def main(protocol: str, sizes: list[int]) -> None:
    comm = MPI.COMM_WORLD
    total = sum(range(1, comm.size + 1))
    with nvrar_bench.open("nvrar", comm, nodes=2, protocol=protocol, timeout=20) as backend:
        for size in sizes:
            pairs = [[backend.empty(size // 4, "float32") for _ in "sr"] for _ in range(CALLS)]
            for call, (send, recv) in enumerate(pairs):
                send[:] = (comm.rank + 1) * 10**call
                recv[:] = np.nan
            backend.all_reduce(*pairs[-1])  # whatever a first call builds is there
            comm.Barrier()
            for send, recv in pairs:
                backend.all_reduce(send, recv)
            for call, (_, recv) in enumerate(pairs):
                wrong = np.flatnonzero(recv != total * 10**call)
                assert not wrong.size, (
                    f"rank {comm.rank}, {size} bytes, call {call}: {wrong.size} wrong, "
                    f"first {wrong[0]}: expected {total * 10**call}, saw {recv[wrong[0]]}"
                )
            comm.Barrier()


main(sys.argv[1], [int(size) for size in sys.argv[2:]])
