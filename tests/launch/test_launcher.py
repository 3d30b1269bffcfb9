"""--ranks: the launcher it finds, and what becomes of the ranks when it is ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from nvrar_bench import errors
from nvrar_bench.errors import Unavailable, UsageError
from nvrar_bench.launch import flavours, launcher
from nvrar_bench.launch import job as running
from nvrar_bench.launch.environment import Starter
from nvrar_bench.launch.flavours import FLAVOURS, of_launcher, of_library
from nvrar_bench.launch.launcher import start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_interrupted(job, number, ranks):
    it = job(ranks, "wait")
    it.wait_for_ranks()
    os.kill(it.process.pid, number)
    assert it.end() == 130
    assert it.stderr.count("the run was interrupted") == 1
    assert len(it.stderr.splitlines()) == 1
    assert it.record(0).startswith("Interrupted")


def test_second_interrupt_kills_a_job_that_does_not_end(job):
    it = job(2, "lock")
    it.wait_for_ranks()
    os.kill(it.process.pid, signal.SIGINT)
    time.sleep(0.1)
    os.kill(it.process.pid, signal.SIGINT)
    assert it.end() == 130


def test_ranks_end_with_the_process_that_started_them(job):
    it = job(2, "wait")
    it.wait_for_ranks()
    os.kill(it.process.pid, signal.SIGKILL)
    assert it.end() == -signal.SIGKILL
    assert it.record(0).startswith("Interrupted")


def test_more_ranks_than_cores(job):
    it = job(16, "pass")
    assert it.end() == 0
    assert it.stderr == ""


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["sweep", "--ranks", "4", "--min", "8"], ["sweep", "--min", "8"]),
        (["sweep", "--min", "8", "--ranks=4"], ["sweep", "--min", "8"]),
        (["check"], ["check"]),
    ],
)
def test_arguments_without_ranks(given, kept):
    assert launcher.without(given, ("--ranks",)) == kept


@pytest.mark.parametrize("ranks", [0, -1])
def test_too_few_ranks(ranks):
    with pytest.raises(UsageError, match=rf"--ranks {ranks}.*at least 1"):
        start(Starter(ranks), [])


def test_inside_mpirun(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(UsageError, match=r"--ranks 2 .*mpirun of Open MPI has started"):
        start(Starter(2), [])
    with pytest.raises(UsageError, match=r"--launcher .*mpirun of Open MPI has started"):
        start(Starter(command=("srun",)), [])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Open MPI v5.0.11, package: Open MPI user@host", "Open MPI"),
        ("MPICH Version:      5.0.2", "MPICH"),
        ("Intel(R) MPI Library 2021.18.1 for Linux* OS", "Intel MPI"),
    ],
)
def test_library_is_recognised(text, name):
    assert of_library(text).name == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mpirun (Open MPI) 5.0.11\n", "Open MPI"),
        ("HYDRA build details:\n    Version: 5.0.2", "MPICH"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.18.1", "Intel MPI"),
    ],
)
def test_launcher_is_recognised(text, name):
    assert of_launcher(text).name == name


def test_unknown_library_and_launcher():
    assert of_library("MVAPICH2 2.3") is None
    assert of_launcher("slurm 24.05") is None


def fake_launchers(monkeypatch, tmp_path, library, says):
    program = tmp_path / "mpiexec"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    python = tmp_path / "python"
    monkeypatch.setattr(flavours.sys, "executable", str(python))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(flavours, "library_version", lambda: library)
    return str(program)


def test_launcher_beside_python(monkeypatch, tmp_path):
    program = fake_launchers(monkeypatch, tmp_path, "MPICH Version: 5", "HYDRA build details")
    flavour, found = flavours.find()
    assert (flavour.name, found) == ("MPICH", program)


def test_launcher_of_another_library(monkeypatch, tmp_path):
    program = fake_launchers(monkeypatch, tmp_path, "MPICH Version: 5", "mpirun (Open MPI) 5.0")
    with pytest.raises(Unavailable) as caught:
        flavours.find()
    for word in ("MPICH", f"{program} is of Open MPI", "pip install mpich"):
        assert word in str(caught.value)


def test_library_without_a_row(monkeypatch, tmp_path):
    fake_launchers(monkeypatch, tmp_path, "MVAPICH2 2.3", "HYDRA build details")
    with pytest.raises(Unavailable, match=r"does not know the launcher of 'MVAPICH2 2.3'"):
        flavours.find()


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda row: row.name)
def test_settings(monkeypatch, flavour):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert flavour.settings(2) == {**flavour.environment, **flavour.as_root}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert flavour.settings(2) == dict(flavour.environment)
    assert flavour.settings(3) == {**flavour.environment, **flavour.crowded}


@pytest.mark.parametrize("code", errors.EXIT_CODES)
def test_exit_codes_of_ranks(capfd, code):
    assert (running._exit_code(code, "mpirun"), capfd.readouterr().err) == (code, "")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (137, "ended with exit code 137; what it said of that is above"),
        (255, "ended with exit code 255; what it said of that is above"),
        (-9, "was killed by SIGKILL: the kernel's out-of-memory killer is the usual cause"),
        (-11, "was killed by SIGSEGV: see whether `/bin/mpirun -n 2 hostname` works here"),
        (-62, "was killed by signal 62: see whether"),
    ],
)
def test_a_launcher_that_does_not_end_by_itself(capfd, code, words):
    assert running._exit_code(code, "/bin/mpirun") == 4
    said = capfd.readouterr().err
    assert said.startswith(f"nvrar-bench: error: /bin/mpirun, which started the ranks, {words}")
    assert said.count("\n") == 1


def test_the_launchers_own_files_go_with_it(run_ranks, tmp_path):
    """An mpirun that finds those of an earlier one of the same pid cannot start."""
    script = tmp_path / "show.py"
    script.write_text("import os; print(os.environ.get('PMIX_SERVER_TMPDIR', ''))")
    own = Path(run_ranks(1, script).stdout.strip())
    if own == Path():
        pytest.skip("this launcher leaves nothing behind")
    assert own.parent.name.startswith("nvrar-bench-")
    assert not own.parent.exists()
    given = {next(row.folder for row in FLAVOURS if row.folder): str(tmp_path)}
    assert Path(run_ranks(1, script, environment=given).stdout.strip()).parent == tmp_path


def test_no_place_for_temporary_files(monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(launcher.tempfile, "TemporaryDirectory", refuse)
    with (
        pytest.raises(Unavailable, match=r"No usable temporary directory.*TMPDIR"),
        launcher._own_folder(FLAVOURS[0]),
    ):
        pytest.fail("there is no folder")
