"""Timing on the GPU: what a call takes in its stream, without what the host takes to enqueue it.

One sample, for an operation that only enqueues:

    prepare            the inputs are restored, and the L2 cache is flushed if that is asked for
    hold               a kernel that waits for a word in host memory; the stream stands still
    event, calls, event
    gate               on the host, when the stream has come to the hold: all ranks go on
    release            the host writes the word; the calls run, one behind the other
    wait               bounded; then the time between the events, and the operation's own verdict

The time is divided by the calls, of which there are several because two events cost as much as a
quarter of a call. An operation that returns only when it is done (MPI) is called as often between
two readings of the host's clock, on a stream that has run dry.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any

from nvrar_bench.devices.base import Prepare, Timer
from nvrar_bench.devices.cuda.context import Graph, Hold
from nvrar_bench.devices.cuda.memory import GpuMemory
from nvrar_bench.devices.operation import Operation
from nvrar_bench.errors import UsageError
from nvrar_bench.timing.loop import MONOTONIC, Gate, Timings, per_call, repeated, time_calls

# Calls of a sample: the 2.8 us of two events are then below 2 % of a call of 6 us. Of longer
# messages, whose calls take longer, so many fewer.
BATCH, FULL_BATCH_UP_TO = 25, 4 << 20
_EVENT_PAIRS = 64  # samples in which nothing is called
_LAUNCHES = 201  # of an empty kernel, whose median is the cost of one
_NS_PER_MS = 1e6
_BLOCKING = "CUDA_LAUNCH_BLOCKING"
_Calls = tuple[Callable[[], object], int]  # what launches all calls of a sample, and how many


class GpuTimer(Timer):
    """Times calls on one GPU.

    `graph` > 1 captures the calls of a sample, that many, in one CUDA graph; `cold_cache` writes
    over twice the L2 cache before each sample. UsageError where the environment makes every launch
    wait, also for a stream that is held.
    """

    def __init__(
        self, memory: GpuMemory, cubin: bytes, graph: int = 1, cold_cache: bool = False
    ) -> None:
        _refuse_blocking_launches(os.environ.get(_BLOCKING))
        context, cu = memory.context, memory.context.calls
        self._context, self._memory, self._graph = context, memory, graph
        self._hold = Hold(context, cubin)
        self._nothing = context.load(cubin, "nvrar_nothing")
        self._prepared = cu.cuEventCreate(cu.CUevent_flags.CU_EVENT_DISABLE_TIMING)
        self._start = cu.cuEventCreate(cu.CUevent_flags.CU_EVENT_DEFAULT)
        self._stop = cu.cuEventCreate(cu.CUevent_flags.CU_EVENT_DEFAULT)
        self._flush_bytes = 2 * context.gpu.l2_bytes if cold_cache else 0
        self._flush = memory.allocate_bytes(self._flush_bytes) if self._flush_bytes else 0

    def time_calls(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings, batch: int = 1
    ) -> None:
        """As Timer.time_calls. A call that is held starts when the host lets the stream go.

        The operation has run at least once before: what it loads or connects on first use would
        wait for a stream that is held. TimedOut: a call, or its start, passed the deadline.
        """
        if not operation.stream_ordered:
            self._time_on_the_host(operation, prepare, gate, timings, batch)
        elif self._graph > 1:
            self._time_graph(operation, prepare, gate, timings)
        else:
            calls = repeated(operation.launch, batch), batch
            self._time_held(operation, calls, prepare, gate, timings)

    def _time_held(
        self, operation: Operation, calls: _Calls, prepare: Prepare, gate: Gate, timings: Timings
    ) -> None:
        launch, batch = calls
        for i in range(len(timings)):
            prepare()
            self._flush_cache()
            self._enqueue_held(launch)
            timings.starts[i] = self._let_go(gate)
            timings.agreed[i] = gate.agreed_ns
            timings.durations[i] = per_call(self._elapsed_ns(operation.variant), batch)
            operation.confirm()

    def _time_graph(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings
    ) -> None:
        """The first replay is not timed: it still sets up."""
        replay = Graph(self._context, operation.launch, self._graph)
        try:
            prepare()
            replay.launch()
            self._context.drain(operation.variant)
            operation.confirm()
            self._time_held(operation, (replay.launch, self._graph), prepare, gate, timings)
        finally:
            replay.close()

    def _time_on_the_host(
        self, operation: Operation, prepare: Prepare, gate: Gate, timings: Timings, batch: int
    ) -> None:
        def ready() -> None:
            prepare()
            self._flush_cache()
            self._context.drain("preparing a call")

        for i in range(len(timings)):
            # One at a time, so that the sample that failed is the last.
            time_calls(operation.launch, ready, gate, MONOTONIC, timings.part(i, 1), batch)
            operation.confirm()

    def _enqueue_held(self, launch: Callable[[], object]) -> None:
        self._record(self._prepared)
        self._hold.enqueue()
        try:
            self._record(self._start)
            launch()
            self._record(self._stop)
        except BaseException:
            self._hold.release()
            raise

    def _let_go(self, gate: Gate) -> int:
        """When that was, on the monotonic clock."""
        try:
            # A rank whose GPU still prepares would start late, and the others would wait for it.
            self._context.await_event(self._prepared, "preparing a call")
            gate()
        finally:  # also when the gate fails: nobody could wait for this stream otherwise
            start = MONOTONIC()
            self._hold.release()
        return start

    def _elapsed_ns(self, what: str) -> float:
        self._context.await_event(self._stop, what)
        self._hold.require_kept()
        return self._between_ns()

    def _between_ns(self) -> float:
        elapsed = self._context.calls.cuEventElapsedTime(self._start, self._stop)
        return float(elapsed) * _NS_PER_MS

    def _record(self, event: Any) -> None:
        self._context.calls.cuEventRecord(event, self._context.stream_handle)

    def _flush_cache(self) -> None:
        if self._flush_bytes:
            self._memory.zero(self._flush, self._flush_bytes)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Resolution and cost of events and cost of a launch, in microseconds; measured once."""
        resolution, cost = self._empty_events_us()
        return {
            "event_resolution_us": resolution,
            "event_cost_us": cost,
            "launch_cost_us": self._launch_cost_us(),
            "calls_per_graph": self._graph,
            "cold_cache": bool(self._flush_bytes),
        }

    @property
    def event_ruler_ns(self) -> tuple[float, float] | None:
        """Resolution of a sample and what it is when nothing is called; None if it never moved."""
        resolution = self.facts["event_resolution_us"]
        return None if resolution is None else (resolution * 1e3, self.facts["event_cost_us"] * 1e3)

    def batch_for(self, nbytes: int) -> int:
        """Calls of a sample, unless the user says. From cold caches but one: it alone is cold."""
        if self._flush_bytes:
            return 1
        return max(1, min(BATCH, BATCH * FULL_BATCH_UP_TO // nbytes))

    def _empty_events_us(self) -> tuple[float | None, float]:
        """The smallest step between samples in which nothing is called, or from 0; their median."""
        seen = [self._empty_sample_us() for _ in range(_EVENT_PAIRS)]
        steps = pairwise(sorted({0.0, *seen}))
        return min((after - before for before, after in steps), default=None), median(seen)

    def _empty_sample_us(self) -> float:
        """As samples are taken: of events that are not held, the second comes when it comes."""
        self._enqueue_held(lambda: None)
        self._hold.release()
        return round(self._elapsed_ns("two events") / 1e3, 3)

    def _launch_cost_us(self) -> float:
        """What the host takes to enqueue an empty kernel: the median of many."""
        taken = []
        for _ in range(_LAUNCHES):
            start = time.perf_counter_ns()
            self._context.launch(self._nothing, 1, 1)
            taken.append(time.perf_counter_ns() - start)
            self._context.drain("an empty kernel")
        return median(taken) / 1e3

    def close(self) -> None:
        """Give events and memory back."""
        self._hold.close()
        for event in (self._prepared, self._start, self._stop):
            self._context.calls.cuEventDestroy(event)
        if self._flush_bytes:
            self._memory.free_bytes(self._flush)


def _refuse_blocking_launches(value: str | None) -> None:
    if value not in (None, "", "0"):
        raise UsageError(
            f"{_BLOCKING}={value}: every launch would wait for the start that comes after it; "
            "unset it"
        )
