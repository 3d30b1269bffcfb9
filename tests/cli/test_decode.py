"""`nvrar-bench decode`: real steps, mistakes, an interrupted run, and figures that are known."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import messages, one_error, one_message
from stored import Stored

from nvrar_bench.backends.fake import BASE_NS, CYCLE, NS_PER_BYTE, WORK_NS_PER_BYTE
from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.run_file import read_any_record
from nvrar_bench.settings.models import read_model, shard_of

STORED = Path(__file__).parents[1] / "documents" / "golden" / "decode.json"
MODEL = """
hidden_size = 64
num_hidden_layers = {layers}
num_attention_heads = 4
intermediate_size = 128
vocab_size = 96
torch_dtype = "float32"
"""
QUICK = ("--context", 8, "--warmup", 1, "--timeout", 120)


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stored:
    """`stored(*words)`: a command in this process."""
    return Stored(monkeypatch, capsys)


def model(folder: Path, layers: int) -> Path:
    path = folder / "model.toml"
    path.write_text(MODEL.format(layers=layers))
    return path


def read(path: Path) -> DecodeRecord:
    record = read_any_record(path)
    assert isinstance(record, DecodeRecord)
    return record


def test_figures_of_known_times_to_the_digit(run_command: Callable[..., Any], tmp_path: Path):
    """44 layers are 88 calls, 22 on each of four pairs of buffers: two cycles of times."""
    path, batch, context = tmp_path / "run.json", 4, 8
    own = model(tmp_path, 44)
    done = run_command(
        "decode", "--backend", "fake", "--ranks", 2, "--model", own, "--batch", batch, *QUICK,
        "--iters", 20, "--json", path,
    )  # fmt: skip
    assert (done.code, messages(done.stderr)) == (0, [])
    shard = shard_of(read_model(str(own)), 2)
    attention = shard.weight_bytes(shard.attention(1)) + shard.kv_bytes(batch, context)
    parts = [attention, shard.weight_bytes(shard.mlp(1))] * 44 + [shard.weight_bytes(shard.head(1))]
    work = sum(round(nbytes * WORK_NS_PER_BYTE) for nbytes in parts) / 1e3
    call = BASE_NS + batch * 64 * 4 * NS_PER_BYTE
    comm = 8 * sum(round(call * (1 + k / 100)) for k in range(CYCLE)) / 1e3
    (result,) = read(path).results
    (step,) = result.steps
    assert (result.size_bytes, result.kv_bytes) == (1024, shard.kv_bytes(batch, context))
    assert result.work is not None
    assert set(result.work.samples_us) == {round(work, 3)}
    assert set(step.step.samples_us) == {round(work + comm, 3)}
    assert step.all_reduce_us.value == step.all_reduce_us.ci95_high == pytest.approx(comm, abs=1e-4)
    assert step.all_reduce_part.value == pytest.approx(comm / (work + comm), abs=1e-4)
    assert step.tokens_per_s.value == pytest.approx(batch * 1e6 / (work + comm), abs=1e-3)
    # Each of 88 calls once; the last on each pair in 4 steps, 20 turns, and a step at the end.
    assert step.check.status == "passed"
    assert step.check.elements == 2 * 256 * (88 + 4 * (4 + 20 + 1))


def test_a_wrong_all_reduce_ends_with_3(run_command: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    done = run_command(
        "decode", "--backend", "fake", "--ranks", 2, "--model", model(tmp_path, 1), "--batch", "1",
        *QUICK, "--iters", 5, "--json", path, environment={"NVRAR_BENCH_FAKE": "wrong=17"},
    )  # fmt: skip
    assert done.code == 3
    assert "first on rank 1, element 17" in one_error(done.stderr)
    record = read(path)
    assert (record.run.status, record.errors[0].type) == ("failed", "WrongResult")
    assert record.results[0].steps[0].check.status == "failed"
    assert "# wrong: fake at batch 1" in done.stdout


def test_steps_of_mpi_and_nvrar_are_right_and_compared(
    run_command: Callable[..., Any], tmp_path: Path
):
    """And the late rank is late: all others wait for it in the first all-reduce."""
    path = tmp_path / "run.json"
    done = run_command(
        "decode", "--ranks", 2, "--model", model(tmp_path, 2), "--batch", "1,16", *QUICK,
        "--iters", 8, "--backend", "mpi,nvrar", "--late", "1=3ms", "--start", "barrier",
        "--json", path,
    )  # fmt: skip
    assert (done.code, messages(done.stderr)) == (0, [])
    record = read(path)
    assert (record.run.status, record.step.all_reduces) == ("complete", 4)
    assert record.settings["late"] == "1=3000us"
    assert [result.batch for result in record.results] == [1, 16]
    for result in record.results:
        assert result.work
        assert [step.backend for step in result.steps] == ["mpi", "nvrar"]
        for step in result.steps:
            assert step.check.status == "passed"
            assert step.step.latency_us.min > 3000
            assert step.step.arrivals[1].median_us > 2900
        assert result.steps[1].versus == "mpi"
        assert result.steps[1].speed_up.ci95_low <= result.steps[1].speed_up.value
    assert "late on purpose: rank 1=3000us" in done.stdout


def test_four_ranks_on_two_nodes_multiply(run_command: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    done = run_command(
        "decode", "--ranks", 4, "--nodes", 2, "--model", model(tmp_path, 2), "--batch", 3, *QUICK,
        "--iters", 2, "--backend", "mpi,nvrar", "--compute", "gemm", "--json", path,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    record = read(path)
    assert (record.topology.nodes, record.step.tensor_parallel) == (2, 4)
    (result,) = record.results
    assert [step.check.status for step in result.steps] == ["passed", "passed"]
    assert result.kv_bytes == 2 * 3 * 8 * 16 * 4


def test_virtual_ranks_do_the_work_of_all(run_command: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    done = run_command(
        "decode", "--device", "cpu", "--fabric", "loopback", "--virtual-ranks", 2, "--model",
        model(tmp_path, 2), "--batch", 3, *QUICK, "--iters", 2, "--json", path,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    record = read(path)
    assert (record.topology.ranks, record.step.tensor_parallel) == (2, 2)
    ((step,),) = [result.steps for result in record.results]
    assert (step.backend, step.check.status) == ("nvrar", "passed")
    assert step.check.elements % (2 * 3 * 64) == 0
    assert step.step.warnings == ("virtual ranks are threads of one process: results count, times "
                                  "mean nothing",)  # fmt: skip


def test_ctrl_c_leaves_what_was_measured(start: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    job = start(
        "decode", "--backend", "fake", "--ranks", 2, "--model", model(tmp_path, 1), "--batch",
        "1,2", "--warmup", 0, "--iters", 100_000, "--timeout", 120, "--json", path,
    )  # fmt: skip
    job.wait_for_results(path, 1)
    job.send(job.first(), signal.SIGINT)
    done = job.end(100.0)
    assert (done.code, "interrupted" in one_message(done.stderr)) == (130, True)
    record = read(path)
    assert record.run.status == "interrupted"
    (result,) = record.results
    assert (result.batch, result.steps[0].step.stop_reason) == (1, "unfinished")
    assert result.steps[0].step.samples >= 5000


RANKS = ("decode", "--ranks", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "0"), "--batch '0': allowed: whole numbers from 1 to 65536"),
        (("--batch", "1,,2"), "--batch '': allowed: whole numbers"),
        (("--model", "none"), "--model 'none' is no model; allowed: llama-3.1-405b"),
        (("--model", "/none.toml"), "/none.toml: cannot be read"),
        (("--compute", "some"), "--compute 'some': allowed: stream, gemm, none"),
        (("--context", "-1"), "--context -1: allowed: 0 to 10000000"),
        (("--buffers", "all"), "--buffers 'all' is not allowed; allowed: symmetric, private"),
        (("--protocol", "auto,packet"), "--protocol 'auto,packet': allowed: one of auto, signal"),
        (("--late", "1=5"), "--late '1=5': allowed: RANK=TIME"),
        (("--late", "2=5us"), "--late rank 2: allowed: ranks 0 to 1"),
        (("--backend", "fake,mpi"), "--backend fake,mpi: fake has a clock of its own"),
        (("--iters", "5", "--precision", "1%"), "--iters 5 and --precision 1% exclude each other"),
        (("--ranks", "3"), "--model small: 3 ranks cannot split num_attention_heads 8"),
    ],
)
def test_a_mistake_is_found_before_ranks_start(stored: Stored, words, message):
    ended = stored(*RANKS, *words)
    assert ended.code == 2
    assert ended.message().startswith(message)


def test_a_late_rank_of_a_sweep_is_checked(stored: Stored):
    for words, message in (
        (("--late", "7=5us"), "--late rank 7: allowed: ranks 0 to 1"),
        (("--late", "1=5us", "--batch", 4), "--late 1=5us: of a sample of several calls"),
    ):
        ended = stored("sweep", "--ranks", 2, *words)
        assert (ended.code, ended.message().startswith(message)) == (2, True)


def test_compare_and_merge_refuse_steps(stored: Stored):
    for command in ("compare", "merge"):
        ended = stored(command, STORED, STORED)
        assert ended.code == 2
        assert ended.message() == (
            f"{STORED}: this is a record of decode steps; allowed: a run record, as written by "
            "sweep --json"
        )


def test_report_shows_stored_steps_in_all_forms(stored: Stored, tmp_path: Path):
    assert "one token for each sequence" in stored("report", STORED).out
    again = tmp_path / "again.json"
    assert stored("report", STORED, "--json", again).code == 0
    assert json.loads(again.read_text()) == json.loads(STORED.read_text())
    for form, text in (("csv", "all_reduce_us"), ("openmetrics", "# EOF"), ("html", "<svg")):
        ended = stored("report", STORED, "--format", form)
        assert (ended.code, text in ended.out) == (0, True)
    assert stored("report", STORED, STORED, "--format", "csv", "--samples").out.count("work") == 84
    for words, message in (
        ((STORED, "--summary"), "--summary with records of decode: allowed:"),
        ((STORED, STORED.parent / "record.json"), "RUN.json 1 of decode and 1 of sweep: allowed:"),
    ):
        ended = stored("report", *words)
        assert (ended.code, ended.message().startswith(message)) == (2, True), ended
