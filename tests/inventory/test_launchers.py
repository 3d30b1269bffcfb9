"""Launchers of batch systems, by what their programs say."""

from __future__ import annotations

import pytest

from nvrar_bench.inventory import launchers
from nvrar_bench.inventory.launchers import _SYSTEMS
from nvrar_bench.launch.environment import LAUNCHERS

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
    monkeypatch.setattr(launchers, "_ANSWER_S", 0.2)
    found = SRUN.look()
    assert found.status == "wrong"
    assert found.problem.startswith("srun --version says nothing within 0.2 s")


def test_who_started_this_process(monkeypatch):
    for row in LAUNCHERS:
        monkeypatch.delenv(row.rank, raising=False)
    assert launchers._started_by() == []
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    (found,) = launchers._started_by()
    assert (found.version, found.detail) == ("mpirun of Open MPI", "4 ranks")
