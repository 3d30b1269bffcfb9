"""Adapters as the kernel lists them."""

from __future__ import annotations

import pytest
from adapters import adapter, reachable

from nvrar_bench.inventory import network


def test_no_adapter(root):
    found = network._networks()
    assert found.status == "missing"
    assert "no InfiniBand, RoCE or Slingshot adapter" in found.problem
    assert network.locked_memory() == []


def test_adapters_with_their_ports(root):
    adapter(root, "mlx5_0", "4: ACTIVE", "1: DOWN")
    reachable(root)
    (found,) = network._networks()
    assert (found.status, found.name, found.version) == ("here", "mlx5_0", "MT4129")
    assert found.detail == (
        "port 1 ACTIVE InfiniBand 400 Gb/sec (4X NDR); port 2 DOWN InfiniBand 400 Gb/sec (4X NDR)"
    )


def test_a_port_that_is_down(root):
    adapter(root, "mlx5_0", "4: ACTIVE")
    adapter(root, "mlx5_1", "2: INIT")
    reachable(root)
    up, down = network._networks()
    assert (up.status, down.status) == ("here", "wrong")
    assert down.problem == "no port is active: ibstat mlx5_1 shows why"


def test_an_adapter_without_a_way_to_it(root):
    adapter(root, "mlx5_0", "4: ACTIVE")
    (found,) = network._networks()
    assert found.status == "wrong"
    assert found.problem.fix == "in a container, start it with --device=/dev/infiniband"


def test_an_adapter_that_tells_nothing(root):
    (root / "infiniband" / "odd").mkdir(parents=True)
    (found,) = network._networks()
    assert (found.status, found.version, found.detail) == ("wrong", None, None)


def test_slingshot(root):
    for name in ("cxi0", "cxi1"):
        (root / "cxi" / name).mkdir(parents=True)
    (root / "dev").mkdir()
    (root / "dev" / "cxi0").touch()
    first, second = network._networks()
    assert (first.status, first.name, first.version) == ("here", "cxi0", "Slingshot")
    assert (second.status, second.problem.fix) == (
        "wrong", f"in a container, start it with --device={root}/dev/cxi1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "status"), [(64 << 10, "wrong"), (network.resource.RLIM_INFINITY, "here")]
)
def test_adapters_need_locked_memory(root, monkeypatch, limit, status):
    adapter(root, "mlx5_0", "4: ACTIVE")
    monkeypatch.setattr(network.resource, "getrlimit", lambda what: (limit, limit))
    found = network.locked_memory()
    assert found.status == status
    assert status == "here" or found.problem.startswith("at most 64 KiB may be locked")
