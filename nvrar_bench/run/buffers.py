"""Send and receive buffers of a sweep: allocated once per kind, poisoned, restored and guarded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.devices.base import Array, Block, Device
from nvrar_bench.plan import Case
from nvrar_bench.verify import CANARY_BYTES

_LINE_BYTES = 64  # canary in front, so that a buffer still starts on a cache line
_BYTE = np.dtype(np.uint8)


@dataclass(frozen=True, eq=False)
class CaseBuffers:
    """The buffers of one case, shape (count,) or (seats, count); `recv` is `send` in place."""

    device: Device
    send: Array
    recv: Array
    front: Array
    behind: Array

    def restore(self, inputs: Array) -> None:
        """Put the inputs where the call will read them."""
        self.device.copy(self.send, inputs)

    def renew(self, inputs: Array) -> None:
        """Do between two calls what a program does: read the output, write the input anew.

        Caches of peers keep an input that nobody writes, and a call that reads it there looks
        faster than any program sees it. In place the call has consumed its input anyhow.
        """
        if self.device.read(self.recv) or self.recv is self.send:
            self.restore(inputs)

    def spoil(self) -> None:
        """Poison the output, unless it is the input, and renew the canaries around it."""
        self.device.spoil(self.recv, self.around, poison=self.recv is not self.send)

    @property
    def around(self) -> tuple[Array, Array]:
        """The canaries of the output."""
        return self.front, self.behind


class SweepBuffers:
    """Two blocks, for messages of up to `nbytes` bytes."""

    def __init__(self, device: Device, nbytes: int, kind: str) -> None:
        room = _LINE_BYTES + nbytes + CANARY_BYTES
        self._device = device
        self._send: Block = device.allocate(room, kind)
        self._recv: Block = device.allocate(room, kind)

    def of(self, case: Case) -> CaseBuffers:
        """Views for `case`, with the canaries right before and behind its output."""
        view, around = self._device.view, self._recv
        end = _LINE_BYTES + case.size_bytes
        output = self._view(self._recv, case)
        return CaseBuffers(
            device=self._device,
            send=output if case.placement == "in_place" else self._view(self._send, case),
            recv=output,
            front=view(around, _LINE_BYTES - CANARY_BYTES, CANARY_BYTES, _BYTE),
            behind=view(around, end, CANARY_BYTES, _BYTE),
        )

    def _view(self, block: Block, case: Case) -> Array:
        dtype = DTYPES[case.dtype].numpy
        return self._device.view(block, _LINE_BYTES, case.size_bytes, dtype)

    def release(self) -> None:
        """Give both blocks back."""
        self._device.release(self._send)
        self._device.release(self._recv)
