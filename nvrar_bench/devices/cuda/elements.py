"""Kernels over the elements of an array: kernels/elements.cuh."""

from __future__ import annotations

from nvrar_bench.devices.cuda.context import GpuContext, LoadedKernel

_THREADS = 256
_BLOCKS_PER_SM = 8


def grid_for(items: int, sms: int) -> int:
    """Blocks for `items` elements: enough to fill the GPU, at least one."""
    return max(1, min(-(-items // _THREADS), sms * _BLOCKS_PER_SM))


class ElementKernels:
    """The kernels of `cubin`, each loaded when it is first needed."""

    def __init__(self, context: GpuContext, cubin: bytes) -> None:
        self._context, self._cubin = context, cubin
        self._loaded: dict[str, LoadedKernel] = {}

    def launch(self, entry: str, items: int, *before: int, after: tuple[int, ...]) -> None:
        """Run `entry` over `items` elements, in stream order.

        Its arguments are those of `before`, the number of items, that of blocks, and `after`.
        """
        if entry not in self._loaded:
            self._loaded[entry] = self._context.load(self._cubin, entry)
        blocks = grid_for(items, self._context.gpu.sms)
        self._context.launch(self._loaded[entry], blocks, _THREADS, *before, items, blocks, *after)
