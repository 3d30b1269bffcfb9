"""MPI on GPU buffers: who says that it takes device pointers, and the way through the host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from nvrar_bench.backends.mpi import (
    MpiCudaBackend,
    Support,
    common_support,
    cuda_support,
)
from nvrar_bench.settings.plans import build_plan

WORKER = Path(__file__).parent / "worker_mpi_cuda.py"

OPEN_MPI = "Open MPI v5.0.11, package: Open MPI user@localhost Distribution, ident: 5.0.11"
MPICH = "MPICH Version:      5.0.2\nMPICH Release date: unreleased"
CRAY = "MPI VERSION    : CRAY MPICH version 8.1.28.15 (ANL base 3.4a2)"
INTEL = "Intel(R) MPI Library 2021.19 for Linux* OS"
MVAPICH2 = "MVAPICH2 Version      :\t2.3.7"


@dataclass
class Answers:
    """What the library's own functions say; None where it has none."""

    cuda: int | None = None
    gpu: int | None = None

    def query_cuda(self) -> int | None:
        return self.cuda

    def query_gpu(self) -> int | None:
        return self.gpu


@pytest.mark.parametrize(
    ("library", "variables", "answers", "expected"),
    [
        (OPEN_MPI, {}, Answers(cuda=1), Support(True, "MPIX_Query_cuda_support says yes")),
        (OPEN_MPI, {}, Answers(cuda=0), Support(False, "MPIX_Query_cuda_support says no")),
        (OPEN_MPI, {}, Answers(), Support(False, "this MPI has no function that says so")),
        (MPICH, {}, Answers(gpu=1), Support(True, "MPIX_GPU_query_support says yes")),
        (MPICH, {}, Answers(gpu=0), Support(False, "MPIX_GPU_query_support says no")),
        (MPICH, {}, Answers(), Support(False, "this MPI has no function that says so")),
        (
            CRAY,
            {"MPICH_GPU_SUPPORT_ENABLED": "1"},
            Answers(),
            Support(True, "MPICH_GPU_SUPPORT_ENABLED=1"),
        ),
        (CRAY, {}, Answers(gpu=1), Support(False, "no MPICH_GPU_SUPPORT_ENABLED")),
        (
            CRAY,
            {"MPICH_GPU_SUPPORT_ENABLED": "0"},
            Answers(gpu=1),
            Support(False, "MPICH_GPU_SUPPORT_ENABLED=0"),
        ),
        (INTEL, {"I_MPI_OFFLOAD": "2"}, Answers(), Support(True, "I_MPI_OFFLOAD=2")),
        (INTEL, {"I_MPI_OFFLOAD": "disable"}, Answers(), Support(False, "I_MPI_OFFLOAD=disable")),
        (INTEL, {}, Answers(), Support(False, "no I_MPI_OFFLOAD")),
        (MVAPICH2, {"MV2_USE_CUDA": "1"}, Answers(cuda=1), Support(True, "MV2_USE_CUDA=1")),
        (MVAPICH2, {}, Answers(cuda=1), Support(False, "no MV2_USE_CUDA")),
    ],
)
def test_the_library_is_asked_in_its_own_way(library, variables, answers, expected):
    assert cuda_support(library, variables, answers) == expected


def test_one_rank_that_is_not_aware_is_enough():
    yes, no = Support(True, "yes"), Support(False, "no")
    assert common_support([yes, yes]) == yes
    assert common_support([no, no]) == no
    assert common_support([yes, no, yes]) == Support(False, "rank 1: no")


def test_it_refuses_what_mpi_lacks_as_on_the_cpu(alone):
    backend = MpiCudaBackend(alone, None, 1.0, Support(False, "asked for"))
    reasons = {
        (case.dtype, case.op): backend.unsupported(case)
        for case in build_plan(dtypes=("all",), ops=("all",), counts=(1,))
    }
    assert reasons["bfloat16", "sum"] == "MPI has no datatype for bfloat16"
    assert reasons["int32", "avg"] == "MPI has no avg operation"
    assert sum(reason is None for reason in reasons.values()) == 8 * 4
    assert backend.name == "mpi"


def test_the_cuda_driver_has_the_copies():
    driver = pytest.importorskip("cuda.bindings.driver", exc_type=ImportError)
    for name, arguments in (
        ("cuMemAllocHost", "(size_t bytesize)"),
        ("cuMemFreeHost", "(p)"),
        ("cuMemcpyDtoHAsync", "(dstHost, srcDevice, size_t ByteCount, hStream)"),
        ("cuMemcpyHtoDAsync", "(dstDevice, srcHost, size_t ByteCount, hStream)"),
    ):
        assert getattr(driver, name).__doc__.strip().startswith(name + arguments)


@pytest.mark.parametrize("ranks", [2, 3])
def test_results_are_right_and_staging_copies_both_ways(run_ranks, ranks):
    done = run_ranks(ranks, WORKER)
    assert done.code == 0, done.stderr[-4000:]
    calls = 8 * 4 * 2 * 2
    everyone = done.record()
    assert len(everyone) == ranks
    for found in everyone:
        assert found["staged"] == {
            "problems": [], "variants": [["staged", False]], "calls": calls,
            "copies": 3 * calls, "pinned": 0,
        }  # fmt: skip
        assert found["cuda_aware"] == {
            "problems": [], "variants": [["cuda_aware", False]], "calls": calls,
            "copies": calls, "pinned": 0,
        }  # fmt: skip
        # This machine's MPI is whatever it is, but what it says is one of these, and on all ranks.
        assert set(found["queries"]) <= {None, 0, 1}
        assert found["answer"] == everyone[0]["answer"]
        assert isinstance(found["answer"]["mpi_cuda_aware"], bool)
        if 1 not in found["queries"] and not found["answer"]["mpi_cuda_aware_reason"].count("="):
            assert found["answer"]["mpi_cuda_aware"] is False
