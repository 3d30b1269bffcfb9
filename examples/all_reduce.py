"""All-reduce a NumPy array in symmetric memory, twice: out of place, then in place.

mpirun -n 4 python examples/all_reduce.py
"""

from __future__ import annotations

from mpi4py import MPI

import nvrar_bench

world = MPI.COMM_WORLD

with nvrar_bench.open("nvrar", world, device="cpu") as backend:
    send = backend.empty(1000, "float32")
    recv = backend.empty(1000, "float32")

    send[:] = world.rank + 1
    backend.all_reduce(send, recv, op="sum")
    backend.all_reduce(send, send, op="max")

    total = world.size * (world.size + 1) / 2
    assert (recv == total).all()
    assert (send == world.size).all()

if world.rank == 0:
    print(f"{world.size} ranks: sum {total:g}, max {world.size}")
