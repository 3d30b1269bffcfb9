"""Kernels over the elements of arrays, of all types: kernels/problem.cuh and verification.cuh."""

from __future__ import annotations

from collections.abc import Callable

from nvrar_bench.devices.cuda.context import GpuContext, LoadedKernel
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import Elements

_THREADS = 256
_BLOCKS_PER_SM = 8


def grid_for(items: int, sms: int) -> int:
    """Blocks for `items` elements: enough to fill the GPU, at least one."""
    return max(1, min(-(-items // _THREADS), sms * _BLOCKS_PER_SM))


class ElementKernels:
    """The kernels of a type are built by `build` and loaded when the first of them is needed."""

    def __init__(self, context: GpuContext, build: Callable[[Source], bytes]) -> None:
        self._context, self._build = context, build
        self._cubins: dict[str, bytes] = {}
        self._loaded: dict[tuple[str, str], LoadedKernel] = {}

    def launch(
        self, dtype: str, entry: str, items: int, *before: int, after: tuple[int, ...]
    ) -> None:
        """Run `entry` of the module of `dtype` over `items` elements, in stream order.

        Its arguments are those of `before`, the number of items, that of blocks, and `after`.
        """
        kernel = self._loaded.get((dtype, entry)) or self._load(dtype, entry)
        blocks = grid_for(items, self._context.gpu.sms)
        self._context.launch(kernel, blocks, _THREADS, *before, items, blocks, *after)

    def _load(self, dtype: str, entry: str) -> LoadedKernel:
        if dtype not in self._cubins:
            self._cubins[dtype] = self._build(Elements(dtype))
        kernel = self._loaded[dtype, entry] = self._context.load(self._cubins[dtype], entry)
        return kernel
