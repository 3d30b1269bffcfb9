"""Adapters as the kernel lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.inventory import network


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A folder in the place of /sys/class and /dev."""
    monkeypatch.setattr(network, "_ADAPTERS", tmp_path / "infiniband")
    monkeypatch.setattr(network, "_SLINGSHOT", tmp_path / "cxi")
    monkeypatch.setattr(network, "_DEVICES", tmp_path / "dev")
    return tmp_path


def adapter(root: Path, name: str, *states: str) -> None:
    folder = root / "infiniband" / name
    folder.mkdir(parents=True)
    (folder / "hca_type").write_text("MT4129\n")
    for number, state in enumerate(states, 1):
        port = folder / "ports" / str(number)
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
        (port / "rate").write_text("400 Gb/sec (4X NDR)\n")
        (port / "link_layer").write_text("InfiniBand\n")


def reachable(root: Path) -> None:
    (root / "dev" / "infiniband").mkdir(parents=True)
    (root / "dev" / "infiniband" / "uverbs0").touch()


def test_no_adapter(root):
    found = network._networks()
    assert found.status == "missing"
    assert "no InfiniBand, RoCE or Slingshot adapter" in found.problem
    assert network._locked_memory() == []


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
    found = network._locked_memory()
    assert found.status == status
    assert status == "here" or found.problem.startswith("at most 64 KiB may be locked")
