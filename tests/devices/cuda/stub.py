"""The stub driver, stub_driver.cpp, as a library."""

from __future__ import annotations

import subprocess
from pathlib import Path

from nvrar_bench.toolchain import host

SOURCE = Path(__file__).with_name("stub_driver.cpp")


def build(folder: Path) -> Path:
    """Build libcuda.so.1 in `folder`, which belongs into LD_LIBRARY_PATH."""
    library = str(folder / "libcuda.so.1")
    options = ["-std=c++17", "-shared", "-fPIC", "-w", *host.include_flags(), "-o", library]
    command = [*host.compiler().command, *options, str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return folder
