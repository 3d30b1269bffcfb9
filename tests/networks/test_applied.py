"""Variables are set where the user has set nothing, and the record says by whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench import networks
from nvrar_bench.networks import Network, Setting, apply

SETTINGS = (
    Setting("NVSHMEM_REMOTE_TRANSPORT", "libfabric", ("NVSHMEM",), needed=True),
    Setting("NCCL_CROSS_NIC", "1", ("NCCL",)),
    Setting("NVSHMEM_IB_ENABLE_IBGDA", "1", ("NVSHMEM",), needs=("IBGDA",)),
    Setting("FI_CXI_RX_MATCH_MODE", "hybrid", ("NCCL", "MPI")),
)
NETWORK = Network("fast", "", "none", (), SETTINGS)


@pytest.fixture(autouse=True)
def no_files(monkeypatch):
    """Nothing of this machine counts."""
    monkeypatch.setattr(networks, "_own_settings", lambda environment: {})


def has_all(need: str) -> None:
    return None


def test_everything_is_set_and_told():
    environment: dict[str, str] = {"PATH": "/bin"}
    applied = apply(NETWORK, False, "cuda", environment, has_all)
    assert environment == {"PATH": "/bin", **{one.variable: one.value for one in SETTINGS}}
    told = applied.to_json()
    assert told["network"] == "fast"
    assert told["network_settings"] == "4 set, 0 kept as the user set them, 0 left out"
    assert told["network_variables"]["NCCL_CROSS_NIC"] == {"value": "1", "set_by": "network fast"}
    assert told["network_left_out"] == {}


def test_what_the_user_has_set_stays():
    environment = {"NCCL_CROSS_NIC": "2", "UCX_TLS": "tcp", "NCCL_TOKEN": "secret"}
    applied = apply(NETWORK, False, "cuda", environment, has_all)
    assert environment["NCCL_CROSS_NIC"] == "2"
    told = applied.to_json()
    assert told["network_variables"]["NCCL_CROSS_NIC"] == {"value": "2", "set_by": "user"}
    assert told["network_variables"]["UCX_TLS"] == {"value": "tcp", "set_by": "user"}
    assert told["network_left_out"] == {"NCCL_CROSS_NIC": "set by the user"}
    assert "NCCL_TOKEN" not in told["network_variables"]


def test_an_empty_value_of_the_user_stays():
    environment = {"NCCL_CROSS_NIC": ""}
    apply(NETWORK, False, "cuda", environment, has_all)
    assert environment["NCCL_CROSS_NIC"] == ""


def test_auto_sets_only_what_is_needed():
    environment: dict[str, str] = {}
    applied = apply(NETWORK, True, "cuda", environment, has_all)
    assert environment == {"NVSHMEM_REMOTE_TRANSPORT": "libfabric"}
    assert set(applied.left_out.values()) == {"auto sets only what is needed to run"}


@pytest.mark.parametrize("name", ["infiniband", "roce", "tcp"])
def test_auto_sets_nothing_where_libraries_find_the_network_themselves(name: str):
    environment: dict[str, str] = {}
    apply(networks.read(name), True, "cuda", environment, has_all)
    assert environment == {}


def test_on_cpu_ranks_only_mpi_has_wishes():
    environment: dict[str, str] = {}
    applied = apply(NETWORK, False, "cpu", environment, has_all)
    assert environment == {"FI_CXI_RX_MATCH_MODE": "hybrid"}
    assert applied.left_out["NCCL_CROSS_NIC"] == "no library of the cpu device wants it"


def test_what_the_machine_cannot_do_is_left_out():
    environment: dict[str, str] = {}
    applied = apply(NETWORK, False, "cuda", environment, lambda need: f"no {need}")
    assert applied.left_out == {"NVSHMEM_IB_ENABLE_IBGDA": "no IBGDA"}
    assert "NVSHMEM_IB_ENABLE_IBGDA" not in environment


def test_ranks_must_agree_on_what_is_set_and_not_on_what_users_set():
    one = apply(NETWORK, False, "cuda", {"NCCL_IB_HCA": "mlx5_0"}, has_all)
    other = apply(NETWORK, False, "cuda", {"NCCL_IB_HCA": "mlx5_1"}, has_all)
    lacking = apply(NETWORK, False, "cuda", {}, lambda need: "none here")
    assert one.must_agree() == other.must_agree()
    assert one.must_agree() != lacking.must_agree()


def test_files_of_the_libraries_count_as_the_users(tmp_path: Path, monkeypatch):
    monkeypatch.undo()
    (tmp_path / ".nccl.conf").write_text("# mine\nNCCL_CROSS_NIC = 0 # here\nno line\nOTHER=1\n")
    (tmp_path / ".openmpi").mkdir()
    (tmp_path / ".openmpi" / "mca-params.conf").write_text("pml = ucx\n")
    (tmp_path / "shmem").write_text("NVSHMEM_REMOTE_TRANSPORT=ibrc\n")
    environment = {"HOME": str(tmp_path), "NVSHMEM_CONF_FILE": str(tmp_path / "shmem")}
    found = networks._own_settings(environment)
    assert found["NCCL_CROSS_NIC"] == "0"
    assert found["OMPI_MCA_pml"] == "ucx"
    assert "OTHER" not in found
    applied = apply(NETWORK, False, "cuda", environment, has_all)
    assert "NCCL_CROSS_NIC" not in environment
    assert "NVSHMEM_REMOTE_TRANSPORT" not in environment
    assert applied.to_json()["network_variables"]["NCCL_CROSS_NIC"] == {
        "value": "0", "set_by": "user",
    }  # fmt: skip
