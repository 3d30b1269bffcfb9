"""What a device runs and times: an all-reduce, however it is done, or what stands between two."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from nvrar_bench.toolchain.structs import CNativeCall
from nvrar_bench.units import format_size


@dataclass(frozen=True)
class NativeCall:
    """A C function's address, which returns an int or nothing, and its arguments, six at most.

    `failure` is where a word lies that is not 0 once a call has failed; 0: a call that fails
    returns something but 0.
    """

    function: int
    arguments: tuple[int, ...] = ()
    failure: int = 0

    def in_c(self) -> CNativeCall:
        """Return its twin."""
        return CNativeCall(self.function, self.arguments, self.failure)


@dataclass(frozen=True)
class Shape:
    """How a call of NVRAR is launched on each rank; sizes in bytes.

    `chunk_bytes` is how much of a slice a block handles at a time, `radix` how many nodes exchange
    directly in one step, `exchange` what of it: `doubling` all, `halving` parts.
    """

    protocol: str
    blocks: int
    threads: int
    chunk_bytes: int
    radix: int
    exchange: str = "doubling"

    def __str__(self) -> str:
        """Write it in a few words."""
        return (
            f"{self.protocol}, {self.blocks} x {self.threads} threads, chunks of "
            f"{format_size(self.chunk_bytes)}, radix {self.radix}"
            + ("" if self.exchange == "doubling" else f", {self.exchange}")
        )


class Operation(ABC):
    """One all-reduce, prepared: which buffers, count, dtype, op; or other work.

    `variant` says how it is done, in one word for tables. `shape` is how it is launched, where that
    can be chosen; `tuned_at` the size, in bytes, at which a tuning table has it. `clock` gives
    nanoseconds; it is the monotonic clock, unless the backend has one of its own. `warnings` are
    what a reader of its figures must know. Where `stream_ordered`, a launch is queued on the
    device's stream, and where `confirm_waits`, `confirm` waits until it has run. `native` is what
    can be timed in place of a launch, between `begin_native` and `end_native`, so that no Python is
    in the sample.
    """

    variant: str
    shape: Shape | None = None
    tuned_at: int | None = None
    warnings: tuple[str, ...] = ()
    stream_ordered: bool = False
    confirm_waits: bool = False
    native: NativeCall | None = None
    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)

    @abstractmethod
    def launch(self) -> None:
        """Run it once, or queue it: once it is done, recv holds the result and both are free.

        Raises:
            TimedOut: a peer did not answer in time; recv is undefined.
        """

    def begin_native(self, batch: int) -> None:  # noqa: B027 - most have nothing to do
        """Do what precedes `batch` native calls; `launch` does it too, for one.

        Raises:
            TimedOut: an earlier call failed, and none can follow.
        """

    def end_native(self, result: int) -> None:  # noqa: B027 - likewise
        """Look at what the C function returned last, an int, and at what it left.

        Raises:
            TimedOut: as `launch`.
        """

    def confirm(self) -> None:  # noqa: B027 - most calls fail while they run
        """Look, after calls that were queued have run (`confirm_waits`), whether all succeeded.

        Raises:
            TimedOut: a peer did not answer one of them in time; recv is undefined.
        """

    def close(self) -> None:  # noqa: B027 - most operations hold nothing
        """Free what `prepare` took. Collective where `prepare` was."""
