"""What a network needs, looked for on machines that are folders."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from adapters import adapter, reachable

from nvrar_bench.errors import CompilerError
from nvrar_bench.inventory import needs, network
from nvrar_bench.problem import Problem


@pytest.fixture
def system(tmp_path, monkeypatch) -> Path:
    """A folder in the place of /."""
    monkeypatch.setattr(needs, "_SYSTEM", tmp_path)
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
        monkeypatch.setattr(needs.wheels, "find", lambda: SimpleNamespace(release=None))
        monkeypatch.setattr(needs.wheels, "find_nvshmem", lambda release: found)

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
    assert needs.lacks("InfiniBand adapter") is None
    assert needs.lacks("Slingshot adapter") == (
        "there is no Slingshot adapter here (found: infiniband)"
    )


def test_one_adapter_that_works_is_enough(root):
    adapter(root, "mlx5_0", "1: DOWN")
    reachable(root)
    assert needs.lacks("InfiniBand adapter") == "no port is active"
    adapter(root, "mlx5_1", "4: ACTIVE")
    assert needs.lacks("InfiniBand adapter") is None


def test_roce_wants_an_address_of_version_2(root):
    ethernet(root, "mlx5_0", "IB/RoCE v1")
    reachable(root)
    assert needs.lacks("RoCE adapter") == "no active port has an address of RoCE v2"
    ethernet(root, "mlx5_1", "IB/RoCE v1", "RoCE v2")
    assert needs.lacks("RoCE adapter") is None


def test_interfaces_that_are_up(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "_INTERFACES", tmp_path)
    for name, kind, carrier, speed in (
        ("lo", "772", "1", ""), ("eth0", "1", "1", "25000"), ("eth1", "1", "0", "1000"),
    ):  # fmt: skip
        write(tmp_path / name / "type", kind)
        write(tmp_path / name / "carrier", carrier)
        write(tmp_path / name / "speed", speed)
    assert network.interfaces() == ["eth0 25000 Mbit/s"]
    assert needs.lacks("network interface") is None
    write(tmp_path / "eth0" / "carrier", "0")
    assert needs.lacks("network interface") == "no interface but the loopback is up"


def test_a_libfabric_with_cxi(tmp_path):
    library = tmp_path / "libfabric.so.1"
    library.write_bytes(b"\0libc.so.6\0")
    assert not needs.has_cxi(library)
    library.write_bytes(b"\0libcxi.so.1\0")
    assert needs.has_cxi(library)
    library.write_bytes(b"")
    write(tmp_path / "libfabric" / "libcxi-fi.so", "")
    assert needs.has_cxi(library)


def test_a_libfabric_that_is_not_there(monkeypatch):
    def fail(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(needs.ctypes, "CDLL", fail)
    assert needs.lacks("libfabric with cxi") == "libfabric.so.1 cannot be loaded"
    assert needs.lacks("NCCL's libfabric plugin").startswith("none of libnccl-net-ofi.so, ")
    monkeypatch.setenv("NCCL_NET_PLUGIN", "mine")
    assert needs.lacks("NCCL's libfabric plugin").startswith("none of libnccl-net-mine.so, mine")


def test_transports_of_nvshmem(nvshmem):
    nvshmem("3.8.0", "ibrc")
    assert needs.lacks("NVSHMEM over InfiniBand") is None
    assert needs.lacks("NVSHMEM over libfabric") == "NVSHMEM 3.8.0 has no transport libfabric"


def test_no_nvshmem(monkeypatch):
    def fail() -> None:
        raise CompilerError(Problem("it is not installed", "install it"))

    monkeypatch.setattr(needs.wheels, "find", fail)
    assert needs.lacks("IBGDA") == "it is not installed"


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
    problem = needs.lacks("IBGDA")
    assert (problem is None) == can
    assert can or problem == f"NVSHMEM {version} needs PeerMappingOverride=1 of the NVIDIA driver"


def test_adapters_that_reach_gpu_memory(system):
    assert needs.lacks("GPUDirect RDMA").startswith("nvidia_peermem is not loaded")
    write(system / "proc/driver/nvidia/version", "NVRM: NVIDIA UNIX Open Kernel Module for x86_64")
    assert needs.lacks("GPUDirect RDMA") is None
    (system / "proc/driver/nvidia/version").unlink()
    (system / "sys/module/nvidia_peermem").mkdir(parents=True)
    assert needs.lacks("GPUDirect RDMA") is None


@pytest.mark.parametrize("has_driver", [True, False])
def test_only_a_machine_with_a_driver_is_asked_for_what_gpus_need(monkeypatch, has_driver):
    monkeypatch.setattr(needs, "has_driver", lambda: has_driver)
    rows = [one.name for one in needs.probes("x", ["locked memory", "IBGDA"])]
    assert rows == (["locked memory", "IBGDA"] if has_driver else ["locked memory"])
