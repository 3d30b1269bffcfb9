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
    LaunchShape,
    Precision,
    Result,
    State,
)

K128, M2 = 128 << 10, 2 << 20
MEDIAN = {"median_us": 6.5, "ci95_low_us": None, "ci95_high_us": None}
TABLE = {
    "format": "nvrar-bench.tuning", "format_version": "1.1", "version": "0",
    "made_at": "2026-11-28T00:00:00+00:00", "status": "complete",
    "made_for": {
        "device": "cuda", "arch": "sm_90", "fabric": "loopback", "nodes": 2, "ranks_per_node": 4,
        "virtual_nodes": True, "ranks_per_device": 8,
    },
    "made_on": {
        "processor": "A GPU", "hosts": ["box"], "kernels_sha256": "0" * 64, "libraries": {},
        "between_machines": None,
    },
    "choices": [
        {
            "dtype": "float32", "op": "sum", "buffers": "symmetric", "size_bytes": K128,
            "protocol": "signal", "blocks": 16, "threads": 256, "chunk_bytes": 2048, "radix": 2,
            "exchange": "doubling", "is_auto": False, "measured": {**MEDIAN, "median_us": 5.0},
            "auto": MEDIAN, "tried": 4, "level": 1, "refused": 0, "ended_by": "winner",
        }
    ],
}  # fmt: skip
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
    assert section(text, "loopback over the floor, float32") == [
        f"{size}, {kind}: at most {target}x the floor: not run"
        for kind in ("queued", "graph") for size, target in (("128K", 1.5), ("2M", 2))
    ]  # fmt: skip
    assert section(text, "lab") == ["not run"]
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


def write_floor(folder) -> None:
    """A microsecond for a million bytes moved, so that floors are plain sums; 0.5 us a hop."""
    least, most = cost("signal", 2, 1, K128).moved_bytes, cost("packet", 8, 2, M2).moved_bytes
    copies = [{"moved_bytes": n, "median_us": 1 + n / 1e6} for n in (least, most)]
    part = {
        "copies": copies, "flag": {"one_way_us": 0.5}, "empty_kernel_us": 1.0, "event_us": 0.2
    }  # fmt: skip
    (folder / "floor.json").write_text(json.dumps({"queued": part, "graph": part}))


def floor_us(protocol: str, ranks: int, nodes: int, size: int) -> float:
    needed = cost(protocol, ranks, nodes, size)
    return needed.moved_bytes / 1e6 + needed.hops * 0.5 + 0.8


def test_the_fastest_is_held_against_the_lower_floor_of_its_kind(folder):
    where = folder(
        "timings|sweep-loopback|ok|9",
        sweep_loopback=record(
            result("nvrar", "signal", K128, 9.0), result("nvrar", "packet", K128, 6.0),
            result("nvrar", "signal", M2, 125.0), result("nvrar", "packet", M2, 170.0),
        ),
        sweep_loopback_graph=record(result("nvrar", "packet", K128, 20.0)),
    )  # fmt: skip
    write_floor(where)
    lines = section(gpu_summary.text(Run.read(where)), "loopback over the floor, float32")
    floor = floor_us("packet", 8, 2, K128)
    assert lines[1].split() == [
        "128K", "packet", "queued", "6.00", "us,", "floor", f"{floor:.2f}", "us,",
        f"{6 / floor:.2f}x", "graph", "20.00", "us,", "floor", f"{floor:.2f}", "us,",
        f"{20 / floor:.2f}x", "cold", "-", "us",
    ]  # fmt: skip
    small, large = (floor_us("signal", 8, 2, size) for size in (K128, M2))
    verdict = gpu_summary.at_most
    assert lines[-4:] == [
        f"128K, queued: at most 1.5x the floor: {verdict(6 / small, 1.5)}",
        f"2M, queued: at most 2x the floor: {verdict(125 / large, 2.0)}",
        f"128K, graph: at most 1.5x the floor: {verdict(20 / small, 1.5)}",
        "2M, graph: at most 2x the floor: not run",
    ]
    assert lines[-4].endswith("met")
    assert "missed by" in lines[-3]
    assert "missed by" in lines[-2]


def test_without_a_floor_times_are_shown_and_verdicts_are_open(folder):
    where = folder(sweep_loopback=record(result("nvrar", "signal", K128, 9.0)))
    lines = section(gpu_summary.text(Run.read(where)), "loopback over the floor, float32")
    assert lines[0].startswith(" 128K signal  queued     9.00 us, floor        - us,     -  graph")
    assert {line.rpartition(": ")[2] for line in lines[-4:]} == {"not run"}


def a_launch(blocks: int, threads: int) -> LaunchShape:
    return LaunchShape(blocks, threads, 4096, 2, "doubling", None)


def test_the_lab_shows_launches_over_the_floor_and_marks_the_fastest(folder):
    race = record(
        result("nvrar", "signal", K128, 6.0, shape=a_launch(8, 256)),
        result("nvrar", "signal", K128, 5.0, shape=a_launch(16, 256)),
        result("nvrar", "signal", K128, 9.0, shape=a_launch(32, 256)),
        result("nvrar", "packet", K128, 7.0, shape=a_launch(16, 512)),
        result("nvrar", "packet", M2, 170.0, shape=a_launch(16, 512)),
        graph=10,
    )  # fmt: skip
    race = replace(race, environment={**race.environment, "gpu_sms": 132, "tuning": TABLE})
    beside = record(
        result("nccl", "window", K128, 8.0), result("nvrar", "signal", K128, 4.0), ranks=2,
        nodes=1, graph=10,
    )  # fmt: skip
    where = folder(lab_8x2=race, lab_nccl_2=beside)
    write_floor(where)
    lines = section(gpu_summary.text(Run.read(where)), "lab")[1:]
    small, large = floor_us("signal", 8, 2, K128), floor_us("signal", 8, 2, M2)
    least = floor_us("signal", 2, 1, K128)
    assert [" ".join(line.split()) for line in lines] == [
        "8 ranks in 2 nodes, loopback, graphs of 10 128K 2M",
        f"the floor {small:.2f} {large:.2f}",
        f"packet 512 x 1 per SM 7.00 {7 / small:.2f}x 16 170.00* {170 / large:.2f}x 16",
        f"signal 256 x 1 per SM 5.00* {5 / small:.2f}x 16 -",
        f"signal 256 x 2 per SM 9.00 {9 / small:.2f}x 32 -",
        f"auto 6.50 {6.5 / small:.2f}x -",
        "2 ranks in 1 node, beside NCCL, graphs of 10 128K",
        f"the floor {least:.2f}",
        f"nccl 8.00 {8 / least:.2f}x",
        f"nvrar 4.00* {4 / least:.2f}x",
    ]


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
    assert section(text, "loopback over the floor, float32")[-6:-4] == said


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
    assert Floor((), 1.0, 1.0, 0.1).of(cost("signal", 8, 2, K128)) is None
