"""Adapters as the kernel lists them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from adapters import adapter, reachable

from nvrar_bench.errors import CompilerError, Problem
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


@pytest.fixture
def system(tmp_path, monkeypatch) -> Path:
    """A folder in the place of /."""
    monkeypatch.setattr(network, "_SYSTEM", tmp_path)
    return tmp_path


@pytest.fixture
def nvshmem(tmp_path, monkeypatch):
    """`nvshmem("3.8.0", "ibrc")`: a wheel with these transports."""

    def make(version: str, *transports: str) -> None:
        library = tmp_path / "lib" / "libnvshmem_device.a"
        library.parent.mkdir()
        for name in transports:
            (library.parent / f"nvshmem_transport_{name}.so.7").touch()
        found = SimpleNamespace(version=version, library=library)
        monkeypatch.setattr(network.wheels, "find", lambda: SimpleNamespace(release=None))
        monkeypatch.setattr(network.wheels, "find_nvshmem", lambda release: found)

    return make


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ethernet(root: Path, name: str, *types: str) -> None:
    adapter(root, name, "4: ACTIVE")
    port = root / "infiniband" / name / "ports" / "1"
    (port / "link_layer").write_text("Ethernet\n")
    for number, kind in enumerate(types):
        write(port / "gid_attrs" / "types" / str(number), f"{kind}\n")


def test_kinds_of_adapters(root):
    assert network.kinds() == {}
    adapter(root, "mlx5_0", "4: ACTIVE")
    ethernet(root, "mlx5_1")
    (root / "cxi" / "cxi0").mkdir(parents=True)
    write(root / "infiniband" / "efa_0" / "ports" / "1" / "link_layer", "Unspecified\n")
    found = {kind: [one.name for one in rows] for kind, rows in network.kinds().items()}
    assert found == {"slingshot": ["cxi0"], "infiniband": ["mlx5_0"], "roce": ["mlx5_1"]}


def test_an_adapter_of_another_network(root):
    adapter(root, "mlx5_0", "4: ACTIVE")
    reachable(root)
    assert network.lacks("InfiniBand adapter") is None
    assert network.lacks("Slingshot adapter") == (
        "there is no Slingshot adapter here (found: infiniband)"
    )


def test_one_adapter_that_works_is_enough(root):
    adapter(root, "mlx5_0", "1: DOWN")
    reachable(root)
    assert network.lacks("InfiniBand adapter") == "no port is active"
    adapter(root, "mlx5_1", "4: ACTIVE")
    assert network.lacks("InfiniBand adapter") is None


def test_roce_wants_an_address_of_version_2(root):
    ethernet(root, "mlx5_0", "IB/RoCE v1")
    reachable(root)
    assert network.lacks("RoCE adapter") == "no active port has an address of RoCE v2"
    ethernet(root, "mlx5_1", "IB/RoCE v1", "RoCE v2")
    assert network.lacks("RoCE adapter") is None


def test_interfaces_that_are_up(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "_INTERFACES", tmp_path)
    for name, kind, carrier, speed in (
        ("lo", "772", "1", ""), ("eth0", "1", "1", "25000"), ("eth1", "1", "0", "1000"),
    ):  # fmt: skip
        write(tmp_path / name / "type", kind)
        write(tmp_path / name / "carrier", carrier)
        write(tmp_path / name / "speed", speed)
    assert network.interfaces() == ["eth0 25000 Mbit/s"]
    assert network.lacks("network interface") is None
    write(tmp_path / "eth0" / "carrier", "0")
    assert network.lacks("network interface") == "no interface but the loopback is up"


def test_a_libfabric_with_cxi(tmp_path):
    library = tmp_path / "libfabric.so.1"
    library.write_bytes(b"\0libc.so.6\0")
    assert not network.has_cxi(library)
    library.write_bytes(b"\0libcxi.so.1\0")
    assert network.has_cxi(library)
    library.write_bytes(b"")
    write(tmp_path / "libfabric" / "libcxi-fi.so", "")
    assert network.has_cxi(library)


def test_a_libfabric_that_is_not_there(monkeypatch):
    def fail(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(network.ctypes, "CDLL", fail)
    assert network.lacks("libfabric with cxi") == "libfabric.so.1 cannot be loaded"
    assert network.lacks("NCCL's libfabric plugin").startswith("none of libnccl-net-ofi.so, ")
    monkeypatch.setenv("NCCL_NET_PLUGIN", "mine")
    assert network.lacks("NCCL's libfabric plugin").startswith("none of libnccl-net-mine.so, mine")


def test_transports_of_nvshmem(nvshmem):
    nvshmem("3.8.0", "ibrc")
    assert network.lacks("NVSHMEM over InfiniBand") is None
    assert network.lacks("NVSHMEM over libfabric") == "NVSHMEM 3.8.0 has no transport libfabric"


def test_no_nvshmem(monkeypatch):
    def fail() -> None:
        raise CompilerError(Problem("it is not installed", "install it"))

    monkeypatch.setattr(network.wheels, "find", fail)
    assert network.lacks("IBGDA") == "it is not installed"


@pytest.mark.parametrize(
    ("version", "parameters", "can"),
    [
        ("3.8.0", "", True), ("3.4.5", "", True), ("3.4.4", "", False), ("2.11.0", "", False),
        ("3.2.5", 'RegistryDwords: "PeerMappingOverride=1;"\n', True),
        ("3.2.5", 'RegistryDwords: "PeerMappingOverride=0;"\n', False),
    ],
)  # fmt: skip
def test_ibgda(system, nvshmem, version, parameters, can):
    nvshmem(version, "ibgda")
    write(system / "proc/driver/nvidia/params", parameters)
    problem = network.lacks("IBGDA")
    assert (problem is None) == can
    assert can or problem == f"NVSHMEM {version} needs PeerMappingOverride=1 of the NVIDIA driver"


def test_adapters_that_reach_gpu_memory(system):
    assert network.lacks("GPUDirect RDMA").startswith("nvidia_peermem is not loaded")
    write(system / "proc/driver/nvidia/version", "NVRM: NVIDIA UNIX Open Kernel Module for x86_64")
    assert network.lacks("GPUDirect RDMA") is None
    (system / "proc/driver/nvidia/version").unlink()
    (system / "sys/module/nvidia_peermem").mkdir(parents=True)
    assert network.lacks("GPUDirect RDMA") is None


@pytest.mark.parametrize("has_driver", [True, False])
def test_only_a_machine_with_a_driver_is_asked_for_what_gpus_need(monkeypatch, has_driver):
    monkeypatch.setattr(network, "has_driver", lambda: has_driver)
    rows = [one.name for one in network.probes("x", ["locked memory", "IBGDA"])]
    assert rows == (["locked memory", "IBGDA"] if has_driver else ["locked memory"])
