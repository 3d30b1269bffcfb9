"""Which environment variables are kept: an allow-list, and never a secret."""

from __future__ import annotations

from nvrar_bench import variables

GIVEN = {
    "NCCL_ALGO": "Ring",
    "NVSHMEM_DEBUG": "INFO",
    "UCX_TLS": "rc",
    "FI_PROVIDER": "cxi",
    "OMPI_MCA_btl": "self",
    "CUDA_VISIBLE_DEVICES": "",
    "CXX": "g++ -O3",
    "LD_LIBRARY_PATH": "/opt/lib:/opt/very/long/path/of/more/than/forty/characters/lib64",
    "HOME": "/root",
    "MY_NCCL_ALGO": "Tree",
    "CXXFLAGS": "-g",
    "NCCL_PSK": "hunter2",
    "UCX_AUTH_TOKEN": "hunter2",
    "NCCL_PROXY": "https://me:hunter2@host/",
    "FI_COOKIE": "0123456789abcdef0123456789abcdef",
}


def test_settings_of_libraries_are_chosen_and_secrets_are_not():
    found = variables.chosen(GIVEN, names=variables.NAMES)
    assert sorted(found) == [
        "CUDA_VISIBLE_DEVICES", "CXX", "FI_PROVIDER", "LD_LIBRARY_PATH", "NCCL_ALGO",
        "NVSHMEM_DEBUG", "OMPI_MCA_btl", "UCX_TLS",
    ]  # fmt: skip
    assert all(found[name] == GIVEN[name] for name in found)


def test_the_record_takes_those_of_one_library():
    assert variables.chosen(GIVEN, variables.NCCL) == {"NCCL_ALGO": "Ring"}
    assert variables.chosen(GIVEN, variables.NVSHMEM) == {"NVSHMEM_DEBUG": "INFO"}
