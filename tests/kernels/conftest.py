"""Compiling many kernels at once, before ranks ask for them one by one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import Kernel

# The headers of others that kernels include: a third of what a kernel takes to compile.
_HEADERS = """
#include <cuda/atomic>
#include <cuda/std/cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
"""


@pytest.fixture(scope="session")
def compile_all(
    kernel_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Iterable[Kernel]], None]:
    """`compile_all(kernels)` puts them into the session's cache, on all cores."""
    headers = tmp_path_factory.mktemp("headers") / "headers.h"

    def build(kernels: Iterable[Kernel]) -> None:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(os.cpu_count()) as pool:
            flags = ["-include", _parsed(headers), *host.include_flags()]
            patch.setattr(host, "include_flags", lambda: flags)
            list(pool.map(host.build, kernels))

    return build


def _parsed(headers: Path) -> str:
    """Have the compiler parse `headers` once, for every kernel; the code of kernels is the same."""
    if not headers.exists():
        headers.write_text(_HEADERS)
        options = [option for option in host._options("-O2") if option != "-shared"]
        words = [*host.compiler().command, *options, *host.include_flags(), "-x", "c++-header"]
        subprocess.run([*words, headers, "-o", f"{headers}.gch"], check=True)
    return str(headers)
