"""The names of devices."""

from __future__ import annotations

import pytest

from nvrar_bench.devices import require_cpu, require_known
from nvrar_bench.errors import Unavailable, UsageError


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_the_cpu_is_there(name):
    require_known(name)
    require_cpu(name)


@pytest.mark.parametrize("refuse", [require_known, require_cpu])
def test_a_device_that_does_not_exist(refuse):
    with pytest.raises(UsageError) as caught:
        refuse("tpu")
    assert str(caught.value) == "--device tpu: no such device; allowed: auto, cpu, cuda"


def test_cuda_is_known_but_not_the_cpu():
    require_known("cuda")
    with pytest.raises(Unavailable, match=r"^--device cuda is not available: .* use --device cpu"):
        require_cpu("cuda")
