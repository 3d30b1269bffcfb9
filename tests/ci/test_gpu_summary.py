"""The summary of a run on a GPU, on records whose every value is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gpu_summary
import pytest
from gpu_model import Floor, cost
from gpu_run import Run, fastest, medians
from msgspec.structs import replace

from nvrar_bench.documents.record import RankPlace, RunRecord, Topology
from nvrar_bench.documents.result import (
    Check,
    FirstWrong,
    Independence,
    Latency,
    Launches,
    Precision,
    Result,
    State,
)

K128, M2 = 128 << 10, 2 << 20
DECODE = Path(__file__).resolve().parents[1] / "documents" / "golden" / "decode.json"


def result(backend: str, variant: str, size: int, us: float, **changes) -> Result:
    latency = Latency(us, us, us, us, us, us, None, None)
    made = Result(
        backend, variant, "cuda", "symmetric", "float32", "sum", "out_of_place", size, size // 4,
        latency, 1, (us,), (1,), (), 0, "iterations", Precision(None, None),
        Independence(1.0, None, None), Launches(1, (us,), None, None), (), 1.0, 1.0,
        Check("passed", "exact", size, 0, None, timed=True), (), (),
        State(None, None, None, 0), None, 1,
    )  # fmt: skip
    return replace(made, **changes)


def record(*results: Result, ranks: int = 8, nodes: int = 2, skipped=(), **settings) -> RunRecord:
    places = tuple(RankPlace(r, "box", r // (ranks // nodes), 0, "cuda") for r in range(ranks))
    topology = Topology(ranks, nodes, ranks // nodes, True, places)
    made = RunRecord.begin(
        command=["sweep"], version="0", settings=settings, topology=topology,
        environment={"gpu": "A GPU", "nvidia_driver": "600.1"},
    )  # fmt: skip
    for one in results:
        made = made.with_result(one)
    for backend, reason in skipped:
        made = made.with_skipped(backend, reason)
    return made.finished("complete")


@pytest.fixture
def folder(tmp_path):
    """`folder(commands, name=record)`: what a run has left."""

    def write(*commands: str, **records: RunRecord):
        lines = "".join(line.replace("|", "\t") + "\n" for line in commands)
        (tmp_path / "commands.tsv").write_text(lines)
        for name, one in records.items():
            path = tmp_path / f"{name.replace('_', '-')}.json"
            path.write_text(json.dumps(one.to_json()))
        return tmp_path

    return write


def section(text: str, title: str) -> list[str]:
    return text.split(f"# {title}\n")[1].split("\n\n")[0].splitlines()


def test_an_empty_folder_says_that_nothing_was_run(tmp_path):
    run = Run.read(tmp_path)
    text = gpu_summary.text(run)
    assert run.exit_code == 2
    assert section(text, "correctness") == [
        "loopback: not run", "sanitizer: not run", "NVSHMEM: not run",
        "NCCL, NVSHMEM and MPI: not run", "CPU: not run",
    ]  # fmt: skip
    assert section(text, "loopback beside the floor, float32") == [
        "128K: at most 1.5x the floor: not run", "2M: at most 2x the floor: not run",
    ]  # fmt: skip
    assert section(text, "NVRAR beside NCCL and MPI") == ["at least 1.9x: not run"]
    assert section(text, "decode steps") == ["not run"]
    assert text.endswith("SOMETHING DID NOT RUN")


@pytest.mark.parametrize(
    ("value", "upper", "lower"),
    [
        (None, "not run", "not run"),
        (2.0, "met", "met"),
        (1.0, "met", "missed by 50%"),
        (3.0, "missed by 50%", "met"),
        (2.5, "missed by 25%", "met"),
    ],
)
def test_verdicts(value, upper, lower):
    assert gpu_summary.at_most(value, 2.0) == upper
    assert gpu_summary.at_least(value, 2.0) == lower


def write_floor(folder, copies: dict[int, float], one_way_us: float) -> None:
    found = {
        "copies": [{"moved_bytes": n, "median_us": us} for n, us in copies.items()],
        "flag": {"one_way_us": one_way_us},
    }
    (folder / "floor.json").write_text(json.dumps(found))


def test_the_fastest_is_held_against_the_lower_floor(folder):
    least, most = cost("signal", 8, 2, K128).moved_bytes, cost("packet", 8, 2, M2).moved_bytes
    where = folder(
        "timings|sweep-loopback|ok|9",
        sweep_loopback=record(
            result("nvrar", "signal", K128, 9.0), result("nvrar", "packet", K128, 6.0),
            result("nvrar", "signal", M2, 55.0), result("nvrar", "packet", M2, 70.0),
        ),
        sweep_loopback_graph=record(result("nvrar", "packet", K128, 5.25)),
    )  # fmt: skip
    # A microsecond for 1 M bytes moved, so that floors are plain sums.
    write_floor(where, {least // 2: least / 2e6, 2 * most: 2 * most / 1e6}, 0.5)
    lines = section(gpu_summary.text(Run.read(where)), "loopback beside the floor, float32")
    small = least / 1e6 + 3 * 0.5
    large = cost("signal", 8, 2, M2).moved_bytes / 1e6 + 3 * 0.5
    assert lines[1].split()[:4] == ["128K", "packet", "6.00", "us"]
    assert "graph     5.25 us  cold        - us" in lines[1]
    assert lines[-2] == f"128K: at most 1.5x the floor: {gpu_summary.at_most(6 / small, 1.5)}"
    assert lines[-2].endswith("met")
    assert lines[-1] == f"2M: at most 2x the floor: {gpu_summary.at_most(55 / large, 2.0)}"


def test_without_a_floor_times_are_shown_and_verdicts_are_open(folder):
    where = folder(sweep_loopback=record(result("nvrar", "signal", K128, 9.0)))
    lines = section(gpu_summary.text(Run.read(where)), "loopback beside the floor, float32")
    assert lines[0].startswith(" 128K signal     9.00 us  floor        - us      -")
    assert lines[-2:] == [
        "128K: at most 1.5x the floor: not run", "2M: at most 2x the floor: not run",
    ]  # fmt: skip


def test_what_auto_chose_and_wrong_results_are_no_times():
    wrong = Check("failed", "exact", 9, 1, FirstWrong(0, 0, 1.0, 2.0), timed=True)
    found = medians(
        [
            result("nvrar", "signal", K128, 3.0), result("nvrar", "packet", K128, 2.0),
            result("nvrar", "packet", K128, 9.0), result("nvrar", "signal", M2, 1.0, check=wrong),
            result("nvrar", "signal", K128, 1.0, dtype="bfloat16"),
        ]
    )  # fmt: skip
    assert found == {("nvrar", "signal", K128): 3.0, ("nvrar", "packet", K128): 2.0}
    assert fastest(found, "nvrar", K128) == 2.0
    assert fastest(found, "mpi", K128) is None


def test_nccl_and_mpi_beside_nvrar(folder):
    shared = ("4 ranks share one GPU",)
    where = folder(
        sweep_nccl_4=record(
            result("nccl", "ring", K128, 20.0), result("nvrar", "packet", K128, 10.0),
            result("mpi", "staged", K128, 40.0), result("nccl", "ring", M2, 19.0),
            result("nvrar", "signal", M2, 20.0, warnings=shared), ranks=4,
        )
    )  # fmt: skip
    lines = section(gpu_summary.text(Run.read(where)), "NVRAR beside NCCL and MPI")
    assert lines[0] == "4 ranks (sweep-nccl-4)"
    assert lines[1].split()[2::3][:3] == ["20.00", "10.00", "40.00"]
    assert lines[1].endswith("2.00x  at least 1.9x: met")
    assert lines[2].endswith("mpi        - us  0.95x  at least 1.9x: missed by 50%")
    assert lines[3] == "    4 ranks share one GPU"


def test_decode_steps_and_a_wrong_one_fails(folder):
    out = folder("decode|decode-shared-2|ok|3")
    shutil.copy(DECODE, out / "decode-shared-2.json")
    run = Run.read(out)
    assert (run.damaged, run.wrong, run.exit_code) == ((), 1, 1)
    assert section(gpu_summary.text(run), "decode steps") == [
        f"2 ranks (decode-shared-2) tiny, batch {batch}  {backend}  all-reduces {us} us  {status}"
        for batch, backend, us, status in (
            (1, "mpi allreduce  1500.00 us", "  500.00", "passed"),
            (1, "nvrar signal  1200.00 us", "  200.00", "passed"),
            (64, "mpi allreduce 150000.00 us", " 3000.00", "passed"),
            (64, "nvrar signal 148000.00 us", " 1000.00", "failed"),
        )
    ]


def test_the_best_number_of_blocks(folder):
    where = folder(
        **{
            f"sweep_blocks_{blocks}": record(result("nvrar", "signal", K128, us), blocks=blocks)
            for blocks, us in ((4, 9.0), (8, 7.0), (16, 8.0))
        }
    )
    (line,) = section(gpu_summary.text(Run.read(where)), "blocks")
    assert line == " 128K signal best  8 blocks  (4: 9.00 us, 8: 7.00 us, 16: 8.00 us)"


def test_correctness_counts_cases_and_says_why_some_were_left_out(folder):
    wrong = Check("failed", "exact", 9, 2, FirstWrong(1, 3, 1.0, 2.0), timed=True)
    shape = ("all", "sweep edges at 3 nodes: 4 ranks cannot be split into 3")
    where = folder(
        "loopback|check-types-4|ok|3",
        check_types_4=record(result("nvrar", "signal", 4, 1.0), skipped=[shape]),
        check_edges_4=record(
            result("nvrar", "packet", 4, 1.0, check=wrong), skipped=[shape, ("mpi", "one process")]
        ),
    )
    run = Run.read(where)
    assert section(gpu_summary.text(run), "correctness")[:2] == [
        "loopback: nvrar: 1 cases passed, 1 wrong, 0 not checked",
        "    skipped mpi: one process (1 runs)",
    ]
    assert run.exit_code == 1


def test_figures_of_a_run_that_was_cut_off_say_so_and_warnings_alike_are_told_once(folder):
    late = [(f"statistics: {n} of 7 samples began late",) for n in (1, 2)]
    cut_off = replace(
        record(*(result("nccl", "ring", K128 * n, 20.0, warnings=late[n - 1]) for n in (1, 2))),
        run=replace(record().run, status="interrupted"),
    )
    where = folder(sweep_nccl_2=cut_off, sweep_loopback=cut_off)
    text = gpu_summary.text(Run.read(where))
    said = [
        "    the run is interrupted: this is what it has done",
        "    statistics: 1 of 7 samples began late",
    ]
    assert section(text, "NVRAR beside NCCL and MPI")[-2:] == said
    assert section(text, "loopback beside the floor, float32")[-4:-2] == said


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["facts|lscpu|ok|0", "sanitizer|-|not run: compute-sanitizer not found|0"], 0),
        (["nvshmem|MPS|not used: it does not start|0"], 0),
        (["facts|lscpu|ok|0", "floor|-|not run: the budget of 9 s is spent|0"], 2),
        (["sanitizer|-|not run: the budget of 9 s is spent|0"], 2),
        (["floor|floor|failed: exit code 5|1", "cpu|-|not run: late|0"], 1),
    ],
)
def test_the_exit_code(folder, lines, code):
    assert Run.read(folder(*lines)).exit_code == code


def test_steps_name_what_is_not_ok(folder):
    where = folder(
        "facts|lscpu|ok|1", "facts|nvidia-smi|failed: nvidia-smi is not found|0",
        "floor|-|not run: no GPU|0",
    )  # fmt: skip
    assert section(gpu_summary.text(Run.read(where)), "steps") == [
        "facts: 1 ok, 1 s in all",
        "    nvidia-smi: failed: nvidia-smi is not found",
        "floor: not run: no GPU",
    ]


@pytest.mark.parametrize("content", ["", "{}", "[1", '{"copies": 3}', '{"copies": [{}]}'])
@pytest.mark.parametrize("name", ["floor.json", "sweep-cpu-2.json"])
def test_what_cannot_be_read_is_said_and_fails(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    run = Run.read(tmp_path)
    assert f"cannot be read: {name}: " in gpu_summary.text(run)
    assert run.exit_code == 1


def test_the_machine_has_the_facts_of_all_records(folder):
    """No one of them has all: virtual ranks know no NCCL."""
    cpu, gpu, nccl = record(), record(), record()
    where = folder(
        a_sweep_cpu=replace(cpu, environment={"gpu": None, "cpu": "A CPU"}),
        check_types=gpu,
        sweep_nccl_2=replace(nccl, environment={**nccl.environment, "nccl": "2.30.1"}),
    )
    assert section(gpu_summary.text(Run.read(where)), "machine") == [
        "gpu: A GPU", "nvidia_driver: 600.1", "nccl: 2.30.1", "cpu: A CPU",
    ]  # fmt: skip


def test_a_floor_needs_copies_on_both_sides():
    assert Floor((), 1.0).of(cost("signal", 8, 2, K128)) is None
