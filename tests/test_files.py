from __future__ import annotations

import os
import resource
from collections.abc import Iterator

import pytest

from nvrar_bench.errors import Unavailable
from nvrar_bench.files import memory_file


@pytest.fixture
def small_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_in_memory_that_ulimit_allows(small_files):
    file = memory_file("tests", 4096)
    assert os.fstat(file).st_size == 4096
    os.close(file)


def test_a_file_in_memory_that_ulimit_refuses(small_files):
    with pytest.raises(Unavailable, match=r"5000 bytes in memory .* `ulimit -f unlimited`"):
        memory_file("tests", 5000)
