from __future__ import annotations

import pwd

import pytest

from nvrar_bench.errors import UsageError
from nvrar_bench.launch import environment
from nvrar_bench.launch.environment import (
    LAUNCHERS,
    check_world,
    expected_ranks,
    launcher,
    local_ranks,
    provide_home,
    rank,
)


def variables(row, ranks="8", me="3"):
    others = dict.fromkeys(row.needs, "1")
    local = {row.local_size: ranks} if row.local_size else {}
    return {**others, **local, row.rank: me, row.size: ranks}


@pytest.mark.parametrize("row", LAUNCHERS, ids=lambda row: f"{row.name}-{row.rank}")
def test_every_launcher(row):
    environ = variables(row)
    assert launcher(environ).name == row.name
    assert expected_ranks(environ) == 8
    assert rank(environ) == 3
    assert local_ranks(environ) == (8 if row.local_size else None)
    check_world(8, environ)
    with pytest.raises(UsageError) as caught:
        check_world(1, environ, "Open MPI 5.0.11")
    for word in (row.name, "8 ranks", "MPI_COMM_WORLD has 1", "Open MPI 5.0.11", "Remedy"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"},  # salloc
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"},  # sbatch
        {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "many"},
    ],
)
def test_alone(environ):
    assert expected_ranks(environ) is None
    assert rank(environ) == 0
    assert local_ranks(environ) == 1
    check_world(1, environ)


def test_mpirun_inside_an_allocation():
    step = {"SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
    mpirun = {"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}
    assert expected_ranks(step | mpirun) == 4
    assert rank(step | mpirun) == 2


QUICK = ["sweep", "--sizes", "64", "-n", "2", "-w", "0", "--backend", "mpi", "--json", "-"]


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_the_user_database_names_it(monkeypatch, environ):
    row = pwd.struct_passwd(("me", "x", 1, 1, "", "/users/me", "/bin/sh"))
    monkeypatch.setattr(environment.pwd, "getpwuid", lambda uid: row)
    provide_home(environ)
    assert environ == {"HOME": "/users/me"}


def test_a_user_whom_no_database_knows(monkeypatch):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(environment.pwd, "getpwuid", unknown)
    environ: dict[str, str] = {}
    provide_home(environ)
    assert environ == {"HOME": "/"}


def test_what_is_set_stays():
    environ = {"HOME": "/elsewhere"}
    provide_home(environ)
    assert environ == {"HOME": "/elsewhere"}


@pytest.mark.parametrize("words", [[], ["--ranks", "2"]], ids=["alone", "ranks"])
def test_a_run_without_home(run_command, words):
    done = run_command(*QUICK, *words, without=["HOME"])
    assert done.code == 0, done.stderr
    assert done.record()["run"]["status"] == "complete"
