"""ci/gpu.sh where there is no GPU, and with a Python that only writes down what it is asked for."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nvrar_bench.cli import app, execute
from nvrar_bench.settings.casefile import read_case_file

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "ci" / "gpu.sh"
TOOLS = (
    "bash", "sh", "env", "timeout", "mktemp", "grep", "sed", "cut", "tr", "cat", "rm", "mkdir",
    "head", "tail", "wc", "dirname", "basename", "sleep", "c++", "g++", "ld", "as", "uname",
    "lscpu",
)  # fmt: skip
STEPS = [
    "facts", "kernels", "loopback", "sanitizer", "nvshmem", "nccl", "nccltests", "timings",
    "decode", "floor", "lab", "cpu",
]  # fmt: skip
# Runs the summary, and writes everything else down; no GPU is missing.
STUB = """#!/bin/sh
case "$*" in
    *gpu_summary.py*) exec {python} "$@" ;;
    -c*gpu_limits*) echo 4,8; exit 0 ;;
    -c*describe*) echo sm_90; exit 0 ;;
    -c*sharing_problem*) exit "${{NCCL_REFUSES:-0}}" ;;
    -c*) exit 0 ;;
esac
echo "$@" >>{lines}
case "$*" in
    {more}
esac
"""


@pytest.fixture
def tools(tmp_path) -> Path:
    """A folder with what the script uses of a system, and nothing of NVIDIA's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def run_script(tools, tmp_path):
    """`run_script(PYTHON=..., NAME=value)`: exit code, what it printed, and its folder."""

    def run(**variables: object) -> tuple[int, str, Path]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NVRAR_GPU_")}
        done = subprocess.run(
            ["bash", str(SCRIPT), str(tmp_path / "out")],
            env={**kept, "PATH": str(tools), **{k: str(v) for k, v in variables.items()}},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr, tmp_path / "out"

    return run


def commands(out: Path) -> list[list[str]]:
    return [line.split("\t") for line in (out / "commands.tsv").read_text().splitlines()]


def section(text: str, title: str) -> list[str]:
    return text.split(f"# {title}\n")[1].split("\n\n")[0].splitlines()


def test_bash_can_read_it():
    done = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.access(SCRIPT, os.R_OK)


def test_its_head_names_every_variable_and_the_steps_have_less_than_ten_minutes():
    text = SCRIPT.read_text()
    head = text.split("set -uo")[0]
    used = set(re.findall(r"\$\{?(NVRAR_GPU_\w+|PYTHON)\b", text))
    assert {name for name in used if name not in head} == set()
    limits = re.findall(r"^begin(?:_on_gpu)? (\w+) (\d+)", text, re.MULTILINE)
    assert [step for step, _ in limits] == STEPS
    budget = int(re.search(r"NVRAR_GPU_BUDGET:-(\d+)", text)[1])
    assert sum(int(seconds) for _, seconds in limits) <= budget <= 600 - 15


@pytest.mark.usefixtures("_jobs", "kernel_cache")
@pytest.mark.slow
def test_without_a_gpu_it_runs_the_cpu_ranks_and_says_what_did_not_run(run_script):
    code, text, out = run_script(
        PYTHON=sys.executable,
        NVRAR_GPU_ITERS=3,
        NVRAR_GPU_BUDGET=50,
        NVRAR_GPU_SLOW=4,
        CUDA_VISIBLE_DEVICES="",
    )
    assert code == 1, text
    found = commands(out)
    assert ["facts", "nvidia-smi", "failed: nvidia-smi is not found", "0"] in found
    not_run = {step: outcome for step, name, outcome, _ in found if name == "-"}
    assert list(not_run) == STEPS[1:-1]
    assert all(outcome.startswith("not run: ") for outcome in not_run.values())
    assert len(set(not_run.values())) == 1, "the one reason: there is no GPU"
    ran = {name: outcome for step, name, outcome, _ in found if step == "cpu"}
    assert ran == {f"sweep-cpu-{ranks}": "ok" for ranks in (2, 4, 8)}
    summary = (out / "summary.txt").read_text()
    assert summary in text
    assert "CPU: nvrar: 15 cases passed, 0 wrong" in summary
    assert section(summary, "NVRAR beside NCCL and MPI") == ["at least 1.9x: not run"]
    assert summary.endswith("SOMETHING FAILED\n")
    logs = sorted(path.name for path in out.glob("*.log"))
    assert logs == [f"{number:02}-{step}.log" for number, step in enumerate(STEPS, 1)]


@pytest.fixture
def lines(tmp_path) -> Path:
    """What the stub was asked for."""
    (tmp_path / "lines.txt").touch()
    return tmp_path / "lines.txt"


@pytest.fixture
def stub(tools, lines):
    """`stub("*sweep*) exit 4 ;;")`: a Python that writes down its arguments, and does this."""
    program(tools / "nvidia-smi", "#!/bin/sh\nexit 0\n")

    def make(more: str = "") -> Path:
        python = shlex.quote(sys.executable)
        program(tools / "stub", STUB.format(python=python, lines=lines, more=more))
        return tools / "stub"

    return make


def test_every_command_of_every_step_is_one_that_the_product_takes(
    run_script, stub, lines, monkeypatch
):
    code, text, _ = run_script(PYTHON=stub())
    assert code == 0, text
    assert "sanitizer: not run: compute-sanitizer not found" in text
    settings = []
    monkeypatch.setattr(execute, "execute", lambda make, *_: settings.append(make()))
    words = [shlex.split(line) for line in lines.read_text().splitlines()]
    products = [line[2:] for line in words if line[:2] == ["-m", "nvrar_bench"]]
    assert [" ".join(line) for line in products if line[0] == "compile"] == [
        "compile --arch sm_90 --fabric nvshmem --dtype float32,bfloat16 --op sum --threads 256",
        "compile --arch sm_90 --fabric loopback --dtype all --op all --threads 256",
        "compile --arch sm_90 --fabric loopback --dtype float32,bfloat16 --op sum --threads 512",
        "compile --fabric all --dtype float32 --op sum --arch sm_90",
    ]
    for line in products:
        if line[0] != "compile":
            done = CliRunner().invoke(app.app, line)
            assert done.exit_code == 0, (line, done.output, done.exception)
    assert {one.virtual_ranks for one in settings} == {None, 2, 3, 4, 6, 8, 12, 16}
    assert {one.graph for one in settings} == {1, 10}
    assert 4294967280 in {one.tuning.first_epoch for one in settings}
    (floor,) = [line for line in words if line[0].endswith("gpu_floor.py")]
    assert floor[1:] == [
        "--shapes", "8x2,4x1,2x1", "--samples", "200", "--json", "floor.json"
    ]  # fmt: skip
    records = [line[line.index("--json") + 1] for line in words if "--json" in line]
    assert len(set(records)) == len(records)


def test_a_failing_command_stops_nothing_and_is_told_with_its_message(run_script, stub):
    failing = '*check-types*) echo "nvrar-bench: error: lost"; exit 4 ;;'
    code, text, out = run_script(PYTHON=stub(failing))
    assert code == 1
    assert "    check-types-4: failed: exit code 4: nvrar-bench: error: lost" in text
    assert "# CPU" in text
    assert all(outcome == "ok" for step, _, outcome, _ in commands(out) if step == "cpu")


def test_a_command_that_hangs_is_ended_and_a_spent_budget_skips_the_rest(run_script, stub):
    code, text, _ = run_script(PYTHON=stub("*nvshmem*) sleep 60 ;;"), NVRAR_GPU_BUDGET=3)
    assert code == 1
    assert re.search(r"kernels-nvshmem: failed: not done in \d s", text)
    assert "kernels-loopback: not run: no time was left for it" in text
    assert "cpu: not run: the budget of 3 s is spent" in text


def test_what_a_sanitizer_finds_fails(run_script, stub, tools):
    program(tools / "compute-sanitizer", '#!/bin/sh\n[ "$2" = memcheck ] || exit 9\n')
    code, text, out = run_script(PYTHON=stub())
    assert code == 1
    outcomes = {name: outcome for step, name, outcome, _ in commands(out) if step == "sanitizer"}
    assert outcomes == {"memcheck": "ok", "racecheck": "failed: exit code 9"}
    assert "    racecheck: failed: exit code 9" in text


def test_an_nccl_that_shares_no_gpu_runs_alone(run_script, stub, lines):
    code, _, out = run_script(PYTHON=stub(), NVRAR_GPU_STEPS="nccl", NCCL_REFUSES=1)
    assert code == 2  # other steps were left out
    assert [
        "nccl",
        "NCCL on several ranks",
        "not used: it refuses to share a GPU",
        "0",
    ] in commands(out)
    products = [shlex.split(line)[2:] for line in lines.read_text().splitlines()]
    asked = [
        (line[0], *(line[line.index(option) + 1] for option in ("--ranks", "--backend")))
        for line in products
        if "--ranks" in line
    ]
    assert asked == [
        ("check", "1", "nccl"), ("sweep", "1", "nccl"), ("check", "2", "nvrar,mpi"),
        ("sweep", "2", "nvrar,mpi"), ("check", "4", "nvrar,mpi"), ("sweep", "4", "nvrar,mpi"),
    ]  # fmt: skip


def test_where_nvshmem_does_not_start_nccl_and_mpi_are_measured_on_plain_memory(
    run_script, stub, lines
):
    broken = (
        "*sweep*private*) ;;\n*sweep*nvrar,mpi*)"
        ' echo "nvrar-bench: error: NVSHMEM did not start"; exit 5 ;;'
    )
    code, text, out = run_script(PYTHON=stub(broken), NVRAR_GPU_STEPS="nccl")
    assert code == 1
    assert "    sweep-nccl-2: failed: exit code 5: nvrar-bench: error: NVSHMEM did not" in text
    outcomes = {name: outcome for step, name, outcome, _ in commands(out) if step == "nccl"}
    assert outcomes["sweep-nccl-2-private"] == outcomes["sweep-nccl-4-private"] == "ok"
    private = [line for line in lines.read_text().splitlines() if "private" in line]
    assert len(private) == 2
    assert all("--backend nccl,mpi --buffers private" in line for line in private)


def test_nvshmem_that_does_not_start_is_asked_why(run_script, stub, lines):
    broken = "*--share-gpu*) exit 5 ;;"
    _, _, out = run_script(PYTHON=stub(broken), NVRAR_GPU_STEPS="nvshmem")
    names = [name for step, name, *_ in commands(out) if step == "nvshmem"]
    assert names.count("why-nvshmem") == 1
    assert names.index("why-nvshmem") == names.index("check-nvshmem-2") + 1
    assert "NVSHMEM_DEBUG=INFO" in (out / "05-nvshmem.log").read_text()


def test_a_program_that_breaks_without_a_message_of_its_own_is_told_with_its_last_line(
    run_script, stub
):
    broken = '*sweep-cpu-2*) echo "Traceback"; echo "ImportError: libx.so"; exit 1 ;;'
    _, text, _ = run_script(PYTHON=stub(broken), NVRAR_GPU_STEPS="cpu")
    assert "    sweep-cpu-2: failed: exit code 1: ImportError: libx.so" in text


def test_a_slow_machine_gets_more_time(run_script, stub):
    code, text, _ = run_script(PYTHON=stub(), NVRAR_GPU_STEPS="cpu", NVRAR_GPU_SLOW=10)
    assert code == 2
    assert re.search(r"== 12 cpu, at most 555?\d s", text), text


@pytest.mark.parametrize(("starts", "outcome"), [(1, "ok"), (0, "not used: it does not start")])
def test_mps_is_used_where_it_starts_and_ended(run_script, stub, tools, tmp_path, starts, outcome):
    said = tmp_path / "mps.txt"
    daemon = f'#!/bin/sh\n[ "$1" = -d ] && exit {1 - starts}\ncat >>{said}\n'
    program(tools / "nvidia-cuda-mps-control", daemon)
    code, text, out = run_script(PYTHON=stub())
    assert code == 0, text
    mps = [(step, outcome) for step, name, outcome, _ in commands(out) if name == "MPS"]
    assert mps == [(step, outcome) for step in ("nvshmem", "nccl", "timings", "decode", "lab")]
    assert said.read_text() == "quit\n" * 5


def test_steps_can_be_chosen(run_script, stub, lines):
    code, text, _ = run_script(PYTHON=stub(), NVRAR_GPU_STEPS="floor cpu")
    assert code == 2
    assert "timings: not run: NVRAR_GPU_STEPS leaves it out" in text
    assert len(lines.read_text().splitlines()) == 4


def test_wrong_usage(tools):
    path = {"PATH": str(tools)}
    done = subprocess.run(["bash", SCRIPT], env=path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "usage: bash ci/gpu.sh OUT\n")


@pytest.mark.parametrize("name", ["gpu-types", "gpu-edges", "gpu-windows", "gpu-small"])
def test_the_case_files_can_be_read(name):
    assert read_case_file(REPOSITORY / "ci" / f"{name}.toml")


def test_the_case_files_have_every_type_and_every_edge():
    (types,) = read_case_file(REPOSITORY / "ci" / "gpu-types.toml")
    assert len({(case.dtype, case.op) for case in types.plan}) == 12 * 5
    edges = read_case_file(REPOSITORY / "ci" / "gpu-edges.toml")
    counts = {case.count for case in edges[0].plan}
    for ranks in (2, 3, 4, 6, 8, 12, 16):
        for group in {ranks // nodes for nodes in (1, 2, 3, 4) if ranks % nodes == 0}:
            assert {max(1, group - 1), group + 1} <= counts
            assert 49152 % (group * 1024) == 0
