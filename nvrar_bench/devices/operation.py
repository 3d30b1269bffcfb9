"""What a device runs and times: one all-reduce, however it is done."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable


class Operation(ABC):
    """One all-reduce, prepared: which buffers, count, dtype, op.

    `variant` says how it is done, in one word for tables. `clock` gives nanoseconds; it is the
    monotonic clock, unless the backend has one of its own. `warnings` are what a reader of its
    figures must know. Where `stream_ordered`, a launch is queued on the device's stream.
    """

    variant: str
    warnings: tuple[str, ...] = ()
    stream_ordered: bool = False
    clock: Callable[[], int] = staticmethod(time.perf_counter_ns)

    @abstractmethod
    def launch(self) -> None:
        """Run it once, or queue it: once it is done, recv holds the result and both are free.

        Raises:
            TimedOut: a peer did not answer in time; recv is undefined.
        """

    def confirm(self) -> None:  # noqa: B027 - most calls fail while they run
        """Look, after calls that were queued have run, whether all went well.

        Raises:
            TimedOut: a peer did not answer one of them in time; recv is undefined.
        """

    def close(self) -> None:  # noqa: B027 - most operations hold nothing
        """Free what `prepare` took. Collective where `prepare` was."""
