"""Which backends there are, and why one is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.backends import NAMES, nccl, require_known
from nvrar_bench.backends.mpi import MpiBackend
from nvrar_bench.backends.registry import BACKENDS, open_backends
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.cuda import heap
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.settings.plans import build_plan


def test_the_names_that_are_allowed_are_those_of_the_registry():
    assert set(NAMES) == set(BACKENDS)


def test_an_unknown_name_is_refused():
    require_known(["mpi", "nvrar"])
    with pytest.raises(UsageError, match=r"^--backend rccl: no such backend; allowed: nccl, mpi,"):
        require_known(["mpi", "rccl"])


def test_without_names_all_that_are_there_open_and_the_others_say_why(alone):
    opened, absent = open_backends((), alone, CpuDevice(alone, 1.0), 1.0)
    assert [backend.name for backend in opened] == ["mpi", "nvrar"]
    assert absent == [("nccl", nccl.missing())]


def test_backends_come_in_the_order_asked_for(alone):
    opened, absent = open_backends(("fake", "nvrar"), alone, CpuDevice(alone, 1.0), 1.0)
    assert [backend.name for backend in opened] == ["fake", "nvrar"]
    assert absent == []


def test_a_backend_asked_for_by_name_must_be_there(alone):
    with pytest.raises(Unavailable) as caught:
        open_backends(("mpi", "nccl"), alone, CpuDevice(alone, 1.0), 1.0)
    assert str(caught.value) == f"--backend nccl is not available: {nccl.missing()}"


def test_cpu_ranks_may_be_on_several_machines(alone):
    two = replace(alone, hosts=("a", "b"), machine_of=(0, 1), nodes=2)
    cpu = CpuDevice(alone, 1.0)
    assert BACKENDS["nvrar"].missing(two, cpu) is None


def test_nvrar_needs_the_ranks_of_a_node_one_after_the_other(alone):
    in_turn = replace(alone, hosts=("a", "b") * 2, machine_of=(0, 1, 0, 1), nodes=2)
    device = Gpu(alone, 1.0)
    assert BACKENDS["nvrar"].missing(in_turn, device).startswith("the ranks of a node must follow")
    in_order = replace(in_turn, machine_of=(0, 0, 1, 1))
    assert BACKENDS["nvrar"].missing(in_order, device) is None
    device.heap_problem = "nvshmem4py is not installed"
    assert BACKENDS["nvrar"].missing(in_order, device) == "nvshmem4py is not installed"


class Gpu(CpuDevice):
    """As far as the registry asks, a GPU."""

    name = "cuda"


def test_virtual_ranks_have_nvrar_alone(alone):
    virtual = alone.with_virtual_ranks(4)
    device = CpuDevice(virtual, 1.0)
    assert BACKENDS["nvrar"].missing(virtual, device) is None
    for name in ("nccl", "mpi", "fake"):
        assert (
            BACKENDS[name].missing(virtual, device).startswith("virtual ranks live in one process")
        )


def test_the_fake_computes_on_the_cpu(alone):
    assert BACKENDS["fake"].missing(alone, CpuDevice(alone, 1.0)) is None
    assert "--device cpu" in BACKENDS["fake"].missing(alone, Gpu(alone, 1.0))


def test_nccl_names_the_first_thing_that_it_lacks(monkeypatch):
    monkeypatch.setattr(nccl.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(nccl.driver.ctypes, "CDLL", no_library)
    assert nccl.missing().startswith("NCCL needs NVIDIA GPUs, and their driver (libcuda.so.1)")
    monkeypatch.setattr(nccl.driver.ctypes, "CDLL", str)
    assert nccl.missing() == "nccl4py is not installed: pip install 'nvrar-bench[cuda13]'"
    monkeypatch.setattr(nccl.importlib.util, "find_spec", lambda name: name)
    assert nccl.missing().endswith("use --backend mpi,nvrar")


def no_library(name: str) -> None:
    raise OSError(name)


def test_mpi_says_what_it_lacks(alone):
    backend = MpiBackend(alone, CpuDevice(alone, 1.0), 1.0)
    cases = build_plan(dtypes=("all",), ops=("all",), counts=(1,))
    reasons = {(case.dtype, case.op): backend.unsupported(case) for case in cases}
    lacking = ("float16", "bfloat16", "float8_e4m3", "float8_e5m2")
    assert len(reasons) == len(DTYPES) * len(OPS)
    for (dtype, op), reason in reasons.items():
        if dtype in lacking:
            assert reason == f"MPI has no datatype for {dtype}"
        else:
            assert reason == ("MPI has no avg operation" if op == "avg" else None)


def test_what_a_machine_lacks_is_what_a_job_on_it_lacks(alone, monkeypatch):
    """`env` asks before there is a job, and `sweep` in one."""
    monkeypatch.setattr(heap, "missing", lambda: "no NVSHMEM")
    cpu, gpu = CpuDevice(alone, 1.0), Gpu(alone, 1.0)
    gpu.heap_problem = "no NVSHMEM"
    for name in ("mpi", "nvrar", "fake"):
        for device in (cpu, gpu):
            entry = BACKENDS[name]
            assert entry.lacks(device.name) == entry.missing(alone, device), (name, device.name)


def test_nccl_says_of_a_machine_what_it_says_of_a_job(alone):
    for device in (CpuDevice(alone, 1.0), Gpu(alone, 1.0)):
        entry = BACKENDS["nccl"]
        assert entry.lacks(device.name) == entry.missing(alone, device) is not None
