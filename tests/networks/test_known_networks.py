"""The libraries that are installed know the variables that the shipped networks set."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from nvrar_bench import networks

_ENTRY = re.compile(rb"[A-Z][A-Z0-9_]{3,60}\0")


def _folder(package: str) -> Path:
    """`nvidia/<package>/lib` of the wheel."""
    found = importlib.util.find_spec("nvidia")
    for root in found.submodule_search_locations or () if found else ():
        if (Path(root) / package / "lib").is_dir():
            return Path(root) / package / "lib"
    pytest.skip(f"no wheel of {package} is installed")


def _names(libraries: Iterable[Path]) -> set[str]:
    """All texts of the libraries that look like a variable's name."""
    found: set[bytes] = set()
    for library in libraries:
        found.update(_ENTRY.findall(library.read_bytes()))
    return {entry[:-1].decode() for entry in found}


def _set(prefix: str) -> Iterator[str]:
    for name in networks.shipped():
        yield from (
            one.variable for one in networks.read(name).settings if one.variable.startswith(prefix)
        )


def test_nvshmem_knows_its_own():
    """It puts the beginning before the name as it looks for the variable."""
    known = _names(_folder("nvshmem").glob("*.so*"))
    names = sorted(set(_set("NVSHMEM_")))
    assert names
    assert [name for name in names if name.removeprefix("NVSHMEM_") not in known] == []
    assert "NO_SUCH_VARIABLE" not in known


def test_nvshmem_warns_of_the_settings_of_libfabric_that_it_needs():
    known = _names(_folder("nvshmem").glob("nvshmem_transport_libfabric.so*"))
    needed = {
        one.variable
        for one in networks.read("slingshot").settings
        if one.needed and one.variable.startswith("FI_")
    }
    assert needed
    assert needed <= known


def test_nccl_knows_its_own():
    known = _names(_folder("nccl").glob("libnccl.so*"))
    names = sorted(set(_set("NCCL_")))
    assert names
    assert [name for name in names if name not in known] == []
