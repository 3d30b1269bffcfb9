"""Compiling many kernels at once, before ranks ask for them one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import Kernel


@pytest.fixture(scope="session")
def compile_all(kernel_cache: Path) -> Callable[[Iterable[Kernel]], None]:
    """`compile_all(kernels)` puts them into the session's cache, on all cores."""

    def build(kernels: Iterable[Kernel]) -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(host.build, kernels))

    return build
