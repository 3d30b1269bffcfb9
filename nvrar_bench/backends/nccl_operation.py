"""One all-reduce of NCCL, and the communicator that it runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nvrar_bench.backends.base import Operation
from nvrar_bench.backends.nccl_library import IN_PROGRESS, SUCCESS, NcclError, NcclLibrary


@dataclass
class Link:
    """The communicator of the moment: windows that failed to register cost one its life."""

    comm: Any = None
    failed: bool = False
    windows: dict[int, Any] = field(default_factory=dict)  # by the address of their block


class AllReduce(Operation):
    """One call on fixed buffers: send, recv, count, type and op, as ncclAllReduce takes them."""

    variant = "plain"
    stream_ordered = True

    def __init__(
        self, library: NcclLibrary, link: Link, arguments: tuple[int, ...], stream: int
    ) -> None:
        self._library, self._link = library, link
        self._enqueue: Callable[..., None] = library.all_reduce
        self._arguments, self._stream = arguments, stream

    def launch(self) -> None:
        """Enqueue it; it has run when the stream has."""
        self._enqueue(*self._arguments, self._link.comm, self._stream)

    def confirm(self) -> None:
        """Raise what NCCL found out while the call ran."""
        state = self._library.state(self._link.comm)
        if state not in (SUCCESS, IN_PROGRESS):
            self._link.failed = True
            words = self._library.last_error(self._link.comm)
            raise NcclError(f"NCCL's all-reduce failed with ncclResult_t {state}: {words}")
