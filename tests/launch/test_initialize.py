from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from nvrar_bench.launch.initialize import unlink_segments, unlink_world_segments


@pytest.fixture
def mapped():
    """Files in /dev/shm that this process has mapped, by what their name begins with."""
    paths = {name: Path(f"/dev/shm/{name}test_{os.getpid()}") for name in ("mpich_shm_", "other_")}
    maps = []
    for path in paths.values():
        with path.open("w+b") as file:
            file.truncate(4096)
            maps.append(mmap.mmap(file.fileno(), 4096))
    yield paths, maps
    for path in paths.values():
        path.unlink(missing_ok=True)


def test_world(mapped):
    paths, maps = mapped
    unlink_world_segments(2)
    assert not paths["mpich_shm_"].exists()
    assert paths["other_"].exists()
    maps[0][:2] = b"ok"  # still there for those who have it


def test_world_of_one(mapped):
    paths, _ = mapped
    unlink_world_segments(1)
    assert not any(path.exists() for path in paths.values())


def test_all(mapped):
    paths, _ = mapped
    unlink_segments()
    unlink_segments()
    assert not any(path.exists() for path in paths.values())
