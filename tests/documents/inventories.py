"""A made-up machine: two GPUs, a driver that is too old, and an mpirun of another MPI."""

from __future__ import annotations

from nvrar_bench.documents.inventory import Ability, Inventory, Row, settled

ALL = ("cpu", "cuda")


def here(group: str, name: str, version: str, **more: object) -> Row:
    known = {"path": None, "detail": None, "needed_for": ALL, **more}
    return Row(group, name, "here", version, problem=None, fix=None, **known)


def machine(version: str = "0.1.0") -> Inventory:
    """`version` is that of nvrar-bench."""
    old = "the NVIDIA driver supports CUDA up to 12.4, and the installed wheels are for CUDA 13"
    update = "update the driver, or pip install 'nvrar-bench[cuda12]'"
    rows = (
        here("package", "nvrar-bench", version, path="/opt/bench/nvrar_bench"),
        here("MPI", "MPI library", "Open MPI v5.0.11", path="/opt/mpi/lib/libmpi.so.40"),
        Row(
            "MPI", "mpirun on PATH", "wrong", "MPICH", "/usr/bin/mpirun", None,
            "it is of MPICH, and mpi4py loads Open MPI",
            "export PATH=/opt/mpi/bin:$PATH, or let --ranks N start the ranks", ("mpirun -n N",),
        ),
        here("cpu device", "cores", "8 of 64", detail="Some CPU", needed_for=("cpu",)),
        Row(
            "cuda device", "NVIDIA driver", "wrong", "CUDA 12.4", None, "550.54", old, update,
            ("cuda",),
        ),
        here("cuda device", "GPU 0", "NVIDIA H100", detail="sm_90, 79.6 GiB", needed_for=("cuda",)),
        Row(
            "NCCL", "nccl4py", "missing", None, None, None, "not installed",
            "pip install 'nvrar-bench[cuda13]'", ("nccl on cuda",),
        ),
        Row("network", "mlx5_0", "wrong", None, None, "port 1 \x1b[2J", "broken", None, ()),
    )  # fmt: skip
    abilities = (
        Ability.of("cpu", None, None, None),
        Ability.of("cpu", "nccl", "NCCL needs the cuda device", None),
        Ability.of("cpu", "mpi", None, None),
        Ability.of("cuda", None, old, update),
        Ability.of("cuda", "nccl", "nccl4py is not installed", "pip install nccl4py"),
        Ability.of("cuda", "mpi", None, None),
    )
    settings = {"CUDA_VISIBLE_DEVICES": "", "NCCL_ALGO": "Ring"}
    return Inventory.of(
        version, "node17", "2026-11-25T16:00:00+00:00", rows, settings, settled(abilities)
    )
