"""What `AllReduce` asks of a device: arrays, launches on a stream, waits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from nvrar_bench.api.operand import Operand
from nvrar_bench.devices.operation import Operation

_T = TypeVar("_T")


class Calls(ABC):
    """Calls on one device. A stream is an address (CUstream); on CPU ranks it is 0."""

    @abstractmethod
    def empty(self, operand: Operand) -> tuple[Any, int]:
        """Return an array in symmetric memory, as `operand` says, and its address. Collective."""

    @abstractmethod
    def operand(self, name: str, array: Any) -> Operand:
        """Look at what a call got as `name`.

        Raises:
            UsageError: it is nothing that can be reduced here.
        """

    @abstractmethod
    def stream(self, stream: Any) -> int:
        """Return the stream that the caller means.

        Raises:
            UsageError: it is none of this device.
        """

    @abstractmethod
    def prepare(self, action: Callable[[], _T], stream: int) -> _T:
        """Run `action`, which prepares a call that will run on `stream`.

        Raises:
            UsageError: the stream is being captured.
        """

    @abstractmethod
    def launch(self, operation: Operation, stream: int) -> None:
        """Run a prepared call, or queue it.

        Raises:
            UsageError: the stream is being captured, and the call cannot be.
            TimedOut: an earlier call failed, or this one.
        """

    @abstractmethod
    def synchronize(self, operation: Operation | None, stream: int) -> None:
        """Wait for all calls on `stream`; `operation` is one of this open, if there is any.

        Raises:
            TimedOut: one of them failed.
        """

    @abstractmethod
    def close(self, release: Callable[[], None], is_orderly: bool) -> None:
        """Wait for what is queued, `release` what uses memory, and give memory and device back.

        It is collective: what other ranks would have to take part in is left out unless
        `is_orderly`.
        """
