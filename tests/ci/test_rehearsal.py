"""ci/gpu.sh from its command line to its summary, on a GPU that is a stub, with small case files.

The times are the stub's own (stub_kernels.h), so every one of them is known.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import rehearse
from gpu_model import cost
from gpu_run import Run

from nvrar_bench.devices.cuda.timing import BATCH
from nvrar_bench.documents import schema_of
from nvrar_bench.documents.record import RunRecord

K128, M2 = 128 << 10, 2 << 20
SMS = 32  # of the stub: 4 blocks for each of 8 ranks
FEW = 2  # calls of a sample of virtual ranks
ONE_OF_EACH = {
    "NVRAR_GPU_ITERS": "1",
    "NVRAR_GPU_SLOW": "20",
    "NVRAR_GPU_RANKS": "6",
    "NVRAR_GPU_JOBS": "2",
    "NVRAR_GPU_BATCH": str(FEW),
    "NVRAR_GPU_MODEL": "small",
    "NVRAR_GPU_SHAPES": "8x2",
    "NVRAR_GPU_SIZES": "8K",
    "NVRAR_GPU_THREADS": "256",
}
BINDINGS = ("nccl", "nvshmem")

pytestmark = [
    pytest.mark.timeout(1800),  # it is some 90 seconds of CPU time, on cores that others use
    pytest.mark.usefixtures("kernel_cache", "_jobs"),
]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """The driver, the stand-ins, and a checkout with small case files."""
    pytest.importorskip("cuda.bindings.driver")
    folder = tmp_path_factory.mktemp("rehearsal")
    rehearse.prepare(folder)
    rehearse.make_checkout(folder / "checkout", rehearse.HERE)
    return folder


@pytest.fixture
def rehearsal(work, tmp_path):
    """`rehearsal("facts floor", gpu="sms=16")`: exit code, what was printed, what it has left."""

    def run(steps: str, gpu: str = "", **more: str) -> tuple[int, str, Run]:
        done = rehearse.rehearse(
            tmp_path / "out", work, work / "checkout" / "ci" / "gpu.sh",
            f"{gpu} threads=1 sms={SMS}", {**ONE_OF_EACH, "NVRAR_GPU_STEPS": steps, **more},
        )  # fmt: skip
        return done.returncode, done.stdout, Run.read(tmp_path / "out")

    return run


def outcomes(run: Run, *steps: str) -> dict[str, str]:
    return {one.name: one.outcome for one in run.commands if one.step in steps}


def require_sound(run: Run, folder: Path) -> None:
    """Every record is valid, whole, right and of the stub."""
    assert run.damaged == ()
    for name, record in run.records.items():
        written = json.loads((folder / f"{name}.json").read_bytes())
        jsonschema.validate(written, schema_of(RunRecord))
        assert (name, record.run.status, record.errors) == (name, "complete", ())
        assert record.environment["gpu"] == "Stub GPU"
        assert {one.check.status for one in record.results} == {"passed"}
        assert all(one.check.elements and not one.check.wrong for one in record.results)


def stub_us(nbytes: int, blocks: int, calls: int = BATCH) -> float:
    """An event in `calls` calls, a kernel, its float32 elements, its blocks."""
    return 0.5 / calls + 5 + nbytes / 4 * 1e-4 + 0.1 * blocks


@pytest.mark.slow
def test_virtual_ranks_from_the_command_line_to_the_summary(rehearsal, work, tmp_path):
    code, text, run = rehearsal("facts loopback sanitizer timings decode floor")
    assert code in (1, 2), text  # steps were left out; NVSHMEM's bindings may be missing
    ran = outcomes(run, "facts", "loopback", "sanitizer", "floor", "timings", "decode")
    shared = {
        "MPS", "decode-shared-2", "decode-shared-2-late",
        *(f"sweep-nvshmem-{which}" for which in (2, 4, 8, "4-nodes", "4-mapped")),
    }  # fmt: skip
    expected = {
        "nvidia-smi", "processors", "packages", "memcheck", "racecheck", "floor",
        *(f"check-{what}-6" for what in ("types", "edges", "wrap", "windows")),
        "sweep-loopback", "sweep-loopback-graph", "sweep-loopback-cold", "sweep-blocks-4",
        "tune-loopback", "decode-loopback-8", "decode-loopback-8-queued",
    }  # fmt: skip
    assert {name for name, outcome in ran.items() if outcome == "ok"} - shared == expected
    for name in ("sweep-blocks-8", "sweep-blocks-16"):
        assert ran[name] == "not used: this GPU runs 4 blocks of each rank"
    require_sound(run, tmp_path / "out")
    assert len(run.records.keys() - shared) == len(expected) - 6  # the others leave none
    _require_times(run, text)
    _require_steps(run)
    assert list((work / "builds").glob("*.so")), "no kernel was built for the CPU"


def _require_steps(run: Run) -> None:
    """A step of 8 layers in one graph: what 17 reads and 16 all-reduces take on the stub."""
    for batch in run.decodes["decode-loopback-8"].results:
        (step,) = batch.steps
        assert step.check.status == "passed"
        assert batch.work.latency_us.median == pytest.approx(17 * 5 + 0.5)
        all_reduce = stub_us(batch.size_bytes, step.shape.blocks) - 0.5 / BATCH
        assert step.all_reduce_us.value == pytest.approx(16 * all_reduce, rel=1e-3)
    assert run.decodes["decode-loopback-8-queued"].results[0].steps[0].check.status == "passed"


def _require_times(run: Run, text: str) -> None:
    """Each figure of the summary is that of the stub, and the floor is the floor file's."""
    for protocol in ("signal", "packet"):
        moved = cost(protocol, 8, 2, M2)
        row = [f"   2M {protocol}"]
        for kind, calls in (("queued", FEW), ("graph", 10)):
            floor = run.floors[kind].of(moved)
            # A copy is 1e-6 us a byte, an empty kernel 5 us: of both the greater, without events.
            assert floor == pytest.approx(max(5, 1e-6 * moved.moved_bytes / 2) + 0.003 * 3, abs=0.1)
            us = stub_us(M2, 4, calls=calls)
            row.append(f"{kind} {us:8.2f} us, floor {floor:8.2f} us, {us / floor:4.2f}x")
        row.append(f"cold {stub_us(M2, 4, calls=1):8.2f} us")
        assert "  ".join(row) in text
        assert f" 128K {protocol} best  4 blocks  (4: {stub_us(K128, 4, calls=FEW):.2f} us)" in text
    assert "# machine\ngpu: Stub GPU\ngpu_arch: sm_90\ncuda_driver: 13.0\n" in text
    assert "sanitizer: nvrar: 16 cases passed, 0 wrong, 0 not checked" in text


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in BINDINGS),
    reason="nccl4py or nvshmem4py is not installed: pip install 'nvrar-bench[cuda13]'",
)
@pytest.mark.parametrize(("number", "shares"), [("22809", False), ("23203", True)])
def test_ranks_that_share_a_gpu_from_the_command_line_to_the_summary(
    rehearsal, tmp_path, number, shares
):
    steps = "nvshmem nccl nccltests"
    code, text, run = rehearsal(steps, STUB_NCCL=number, NVRAR_GPU_ROUNDS="1")
    assert code == 2, text
    beside = outcomes(run, "nccltests")
    _require_nccltests(beside, text, shares)
    ran = outcomes(run, "nvshmem", "nccl")
    refused = ran.pop("NCCL on several ranks", "")
    assert bool(refused) != shares
    assert set(ran.values()) == {"ok"}, ran
    assert len(ran) == (15 if shares else 17)
    for ranks in (2, 4, 8):
        for name, path in (("nodes", "puts"), ("mapped", "loads and stores")):
            record = run.records[f"check-nvshmem-{ranks}-{name}"]
            assert record.environment["nvrar_between_nodes"] == path
    require_sound(run, tmp_path / "out")
    backends = [{one.backend for one in run.records["check-nccl-4"].results}]
    assert backends == [{"nccl", "nvrar", "mpi"} if shares else {"nvrar", "mpi"}]
    alone = "sweep-nccl-4" if shares else "sweep-nccl-1"
    (us,) = {
        one.latency_us.median
        for one in run.records[alone].results
        if (one.backend, one.size_bytes) == ("nccl", K128)
    }
    assert us == pytest.approx(0.5 / BATCH + 20 + K128 / 4 * 1e-4, abs=0.01)
    assert f"nccl {us:8.2f} us" in text
    assert f"nvshmem: 3.4.5\nnccl: {number[0]}.{int(number[1:3])}.{int(number[3:])}\n" in text


def _require_nccltests(ran: dict[str, str], text: str, shares: bool) -> None:
    """Ours is the stub's time, and a part of what two events cost."""
    if not shares:
        assert ran == {"-": "not run: NCCL refuses to share a GPU"}
        return
    assert ran.pop("MPS") == "ok"
    assert set(ran.values()) == {"ok"}, ran
    modes = ("plain", "symmetric", "graph")
    assert set(ran) == {
        "sweep-nccltests-1", "sweep-nccltests-graph-1", *(f"nccltests-{mode}-1" for mode in modes)
    }  # fmt: skip
    for mode in modes:
        for size in (K128, M2):
            us = 20 + size / 4 * 1e-4
            ours = us + 0.5 / (20 if mode == "graph" else BATCH)
            assert (
                f"ours {ours:8.2f} us  nccl-tests {us - 0.005:8.2f} us  1.00x  within 5%: met"
                in text
            )


@pytest.fixture
def command(work, tmp_path):
    """`command("check", ...)`: as typed where the stub is, with a kernel cache of its own."""

    def run(*arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "nvrar_bench", *arguments],
            env={
                **os.environ, **rehearse.variables(work, "threads=1 sms=32"),
                "NVRAR_BENCH_CACHE": str(tmp_path / "kernels"),
            },
            cwd=rehearse.REPOSITORY, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    return run


@pytest.mark.slow
def test_what_compile_builds_is_all_that_a_run_takes(command, tmp_path):
    case = tmp_path / "case.toml"
    case.write_text('[[sweep]]\nname = "a"\ncounts = 9\nprotocol = ["signal", "packet"]\n')
    virtual = ("--fabric", "loopback", "--virtual-ranks", "2")
    check = ("check", "--device", "cuda", *virtual, "--case", str(case))
    said = [line for line in command(*check) if "building" in line]
    assert said == ["building 3 kernels for sm_90"]
    shutil.rmtree(tmp_path / "kernels")
    command(
        "compile", "--arch", "sm_90", "--fabric", "loopback", "--dtype", "float32", "--op", "sum",
        "--ranks-per-node", "2",
    )  # fmt: skip
    built = set((tmp_path / "kernels").glob("*/kernel.cubin"))
    assert len(built) == 2 + 2 * 2 * 2  # each protocol in two launch classes, on a node and on more
    assert not [line for line in command(*check) if "building" in line]
    assert set((tmp_path / "kernels").glob("*/kernel.cubin")) == built


@pytest.mark.slow
def test_the_lab_races_launches_and_shows_them_in_one_table(rehearsal, tmp_path):
    has_bindings = all(importlib.util.find_spec(name) for name in BINDINGS)
    shared = {"lab-shared-2", "lab-nccl-2"} if has_bindings else set[str]()
    code, text, run = rehearsal("floor lab", NVRAR_GPU_SHAPES="4x2", STUB_NCCL="23203")
    assert code == 2, text  # steps were left out
    ran = {name for name, outcome in outcomes(run, "lab").items() if outcome == "ok"}
    assert ran - {"MPS"} == {"kernels-lab", "lab-4x2", *shared}
    require_sound(run, tmp_path / "out")
    blocks = {one.shape.blocks for one in run.records["lab-4x2"].results}
    assert blocks == {2, 4, 8, 16}, "of 8 multiprocessors for each rank: to two on each"
    fastest = re.search(r"^  signal 256 x 1 per SM +([\d.]+)\*", text, re.MULTILINE)
    assert float(fastest[1]) == pytest.approx(stub_us(8 << 10, 2, calls=10), abs=0.01)
    if has_bindings:
        assert run.records["lab-nccl-2"].settings["tuning"] == "lab-shared-2.table"
        assert "2 ranks in 1 node, beside NCCL, graphs of 10" in text


@pytest.mark.slow
def test_a_kernel_that_is_wrong_is_found(rehearsal, tmp_path):
    mutated = tmp_path / "kernels"
    shutil.copytree(rehearse.REPOSITORY / "kernels", mutated)
    header = mutated / "packet.cuh"
    right = "store(window, peer, piece, unit);"
    wrong = "store(window, (peer + 1) % group_size, piece, unit);"
    assert right in header.read_text()
    header.write_text(header.read_text().replace(right, wrong))
    code, text, run = rehearsal("sanitizer", NVRAR_BENCH_KERNELS=str(mutated))
    assert code == 1
    for outcome in outcomes(run, "sanitizer").values():
        assert outcome.startswith("failed: exit code 3: nvrar-bench: error: nvrar (packet, ")
        assert " gave a wrong result: float32" in outcome
    assert "sanitizer: nvrar: 8 cases passed, 8 wrong, 0 not checked" in text
    assert text.endswith("SOMETHING FAILED\n")


@pytest.mark.parametrize(
    ("gpu", "code", "outcome"),
    [
        ("version=12080", 2, "not run: the NVIDIA driver supports CUDA up to 12.8, and the"),
        ("gpus=0", 2, "not run: no CUDA device is visible: "),
        ("memory=100000000", 1, "failed: exit code 2: gpu_floor: error: rank 0 on "),
    ],
)
def test_what_a_machine_lacks_is_said(rehearsal, gpu, code, outcome):
    found, text, run = rehearsal("floor", gpu)
    assert found == code, text
    (said,) = outcomes(run, "floor").values()
    assert said.startswith(outcome)
    assert said in text
