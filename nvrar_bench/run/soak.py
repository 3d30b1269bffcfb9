"""A soak: random calls, one behind the other, every one of them verified.

No rank waits for another between two calls, so that they drift as far apart as the calls let them.
Calls come in spells of one type and operation, for which inputs and results are computed once. All
ranks draw the same numbers from the seed, so that a run can be made again.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from nvrar_bench.backends.base import Backend
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.devices.base import Device
from nvrar_bench.errors import WrongResult
from nvrar_bench.plan import AXES, Case, Plan
from nvrar_bench.run.buffers import KnownCall, KnownInputs, SweepBuffers
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.settings.soak import SoakLimit, longest_counts

SPELL = 250  # calls
BuildKernels = Callable[[Sequence[tuple[Backend, Sequence[Case]]], Collection[str]], None]


class Soak:
    """Random calls on `backends`; every rank does the same."""

    def __init__(
        self, device: Device, backends: Sequence[Backend], seed: int, alive: Callable[[], None],
        build: BuildKernels,
    ) -> None:  # fmt: skip
        self._device, self._backends, self._alive, self._build = device, backends, alive, build
        self._random, self._seed = Random(seed), seed  # noqa: S311 - to be drawn again
        self._kinds = Random(f"kinds {seed}")  # noqa: S311 - of spells, drawn ahead of them
        self._drawn: deque[tuple[str, str]] = deque()
        self._most_ahead = 1
        nbytes = max(count * DTYPES[name].itemsize for name, count in longest_counts().items())
        self._buffers = {
            kind: SweepBuffers(device, nbytes, kind) for kind in AXES["buffers"].allowed
        }
        self._calls: Counter[str] = Counter()
        self._problem: str | None = None
        self._start = time.monotonic()

    def run(self, limit: SoakLimit, tell: Callable[[dict[str, Any]], None]) -> None:
        """Run spells until `limit`; `tell` gets the result so far after each spell.

        A wrong result ends it on every rank, at the end of the spell (WrongResult).
        """
        while not self._is_over(limit):
            left = limit.calls - self._calls.total()
            if not self._drawn:
                self._look_ahead(math.ceil(min(self._most_ahead, left / SPELL)))
            self._spell(int(min(SPELL, left)))
            tell(self.facts())
            problems = filter(None, self._device.world.comm.allgather(self._problem))
            if problem := next(problems, None):
                raise WrongResult(problem)

    def facts(self) -> dict[str, Any]:
        """What was done so far, for the record."""
        return {
            "calls": self._calls.total(),
            "calls_by_backend": dict(self._calls),
            "seconds": round(time.monotonic() - self._start, 3),
            "seed": self._seed,
        }

    def release(self) -> None:
        """Give the buffers back."""
        for pair in self._buffers.values():
            pair.release()

    def _is_over(self, limit: SoakLimit) -> bool:
        """Rank 0 looks at its clock for all."""
        late = time.monotonic() - self._start >= limit.seconds
        return bool(self._device.world.comm.bcast(late or self._calls.total() >= limit.calls))

    def _look_ahead(self, spells: int) -> None:
        """Draw the next spells, more each time, and build for them; a soak's clock stands still."""
        begun = time.monotonic()
        for _ in range(spells):
            self._drawn.append((self._kinds.choice(list(DTYPES)), self._kinds.choice(list(OPS))))
        cases = [case for dtype, op in self._drawn for case in _plan(dtype, op)]
        self._build(
            [(one, [c for c in cases if one.unsupported(c) is None]) for one in self._backends],
            dict.fromkeys(case.dtype for case in cases),
        )
        self._most_ahead *= 2
        self._start += time.monotonic() - begun

    def _spell(self, calls: int) -> None:
        dtype, op = self._drawn.popleft()
        longest = longest_counts()[dtype]
        (whole,) = build_plan(counts=(longest,), dtypes=(dtype,), ops=(op,))
        able = [one for one in self._backends if one.unsupported(whole) is None]
        known = KnownInputs((whole,), self._device, self._random.getrandbits(20), True)
        known.of(whole)  # as long as the longest: shorter messages are prefixes
        for _ in range(calls if able else 0):
            self._alive()
            case = self._draw(whole, longest)
            self._call(self._random.choice(able), case, self._random.choice(known.of(case)))

    def _draw(self, whole: Case, longest: int) -> Case:
        """Draw a message: as many of 10 elements as of 10,000."""
        count = int(math.exp(self._random.uniform(0, math.log(longest + 1))))
        drawn: dict[str, Any] = {
            key: self._random.choice(AXES[key].allowed)
            for key in ("placement", "buffers", "protocol")
        }
        return replace(whole, count=count, size_bytes=count * DTYPES[whole.dtype].itemsize, **drawn)

    def _call(self, backend: Backend, case: Case, known: KnownCall) -> None:
        buffers = self._buffers[case.buffers].of(case)
        operation = backend.prepare(case, buffers.send, buffers.recv)
        buffers.restore(known.inputs)
        buffers.spoil()
        operation.launch()
        self._device.finish(operation)
        looked = known.check(buffers.recv, buffers.around)
        wrong = [result for result in looked.results if result.wrong]
        if wrong or not looked.intact:
            found = wrong[0].first_wrong if wrong else "memory around the output was written"
            self._problem = self._problem or (
                f"{backend.name} ({operation.variant}) gave a wrong result in call "
                f"{self._calls.total() + 1} of the soak with --seed {self._seed}: {case}: {found}"
            )
        operation.close()
        self._calls[backend.name] += 1


def _plan(dtype: str, op: str) -> Plan:
    """The longest message, in every protocol."""
    counts, protocols = (longest_counts()[dtype],), AXES["protocol"].allowed
    return build_plan(counts=counts, dtypes=(dtype,), ops=(op,), protocols=protocols)
