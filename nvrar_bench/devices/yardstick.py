"""The yardstick of CPU ranks: what the machine does just now in which no backend has a part.

How long a flag takes from rank 0 to the last rank shows how far apart its cores are; a copy of what
a peer has just written, what moving data costs between them; arithmetic on all ranks at once, how
much of a core each has: a virtual core may share its own with another guest, or with its neighbour.
"""

from __future__ import annotations

import numpy as np

from nvrar_bench.devices.gate import SharedGate, load_library
from nvrar_bench.devices.shared_memory import allocate
from nvrar_bench.timing.loop import MONOTONIC, Nanoseconds, Yardstick
from nvrar_bench.world import World

COPIED_BYTES = 65_536
WORK_STEPS = 1500
_LONGEST = 3  # times the median of all


class CpuYardstick(Yardstick):
    """Of ranks of one machine, to be read between calls; collective, like the gate that it passes.

    A rank that is alone copies its own bytes.
    """

    def __init__(self, world: World, gate: SharedGate) -> None:
        self._gate = gate
        # Two, in turns: what one pass writes nobody reads until all have left the pass after it.
        memory = allocate(world.host_comm, 2 * COPIED_BYTES)
        neighbour = (memory.rank + 1) % len(memory.addresses)
        self._own, self._peers = (np.split(memory.bytes_of(r), 2) for r in (memory.rank, neighbour))
        self._here = np.zeros(COPIED_BYTES, np.uint8)
        self._do_work = load_library(world).nvrar_do_work

    def read(self, passes: int) -> Nanoseconds:
        """What it says on this rank, shape (3,), in the order of states.YARDSTICKS.

        Means of `passes`, since what shares a core comes and goes within microseconds.
        """
        seen = np.zeros((3, passes), np.int64)
        here, do_work, steps = self._here, self._do_work, WORK_STEPS
        with self._gate.without_lead():
            for i in range(passes):
                self._own[i % 2][:] = here
                seen[0, i] = self._gate.lag_ns()
                peers, start = self._peers[i % 2], MONOTONIC()
                here[:] = peers
                copied = MONOTONIC()
                do_work(steps)
                seen[1:, i] = copied - start, MONOTONIC() - copied
        return np.array([_mean(each) for each in seen], np.int64)


def _mean(passes: Nanoseconds) -> float:
    """Return the mean; a pass in which a rank lost its core counts as a long one, no more."""
    return float(np.minimum(passes, _LONGEST * np.median(passes)).mean())
