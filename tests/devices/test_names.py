"""The names of devices."""

from __future__ import annotations

import pytest

from nvrar_bench.devices import require_known
from nvrar_bench.errors import UsageError


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda"])
def test_devices_that_exist(name):
    require_known(name)


def test_a_device_that_does_not_exist():
    with pytest.raises(UsageError) as caught:
        require_known("tpu")
    assert str(caught.value) == "--device tpu: no such device; allowed: auto, cpu, cuda"
