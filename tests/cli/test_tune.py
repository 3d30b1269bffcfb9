"""`nvrar-bench tune`: from the command line to the table, and from the table to a sweep."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from output import messages, one_error, read, wait_until

from nvrar_bench.documents import schema_of
from nvrar_bench.documents.tuning import TuningDocument

FAKE = ("tune", "--backend", "fake", "--ranks", 2, "--timeout", 120, "--max-time", 600)
LOOPBACK = ("--device", "cpu", "--fabric", "loopback", "--virtual-ranks", 4, "--nodes", 2)
UTF8 = {"PYTHONUTF8": "1"}


def table(path: Path) -> dict[str, Any]:
    """The table at `path`, checked against the schema."""
    value: dict[str, Any] = json.loads(path.read_text())
    jsonschema.validate(value, schema_of(TuningDocument), cls=jsonschema.Draft202012Validator)
    return value


def results(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(path)["results"]
    return found


# ---- the search, by a made-up clock ------------------------------------------------------------


def test_the_fastest_launch_is_found_told_and_written(
    run_command: Callable[..., Any], tmp_path: Path
):
    words = ("--sizes", "4K,64K", "--protocol", "signal", "--chunk", "1K")
    words += ("--exchange", "doubling", "--json")
    done = run_command(
        *FAKE, *words, tmp_path / "run.json", "--output", tmp_path / "t.json",
        environment={**UTF8, "NVRAR_BENCH_FAKE": "best=4,refused=2"},
    )  # fmt: skip
    assert (done.code, messages(done.stderr)) == (0, [])
    found = table(tmp_path / "t.json")
    assert found["status"] == "complete"
    assert found["made_for"]["fabric"] == "fake"
    small, large = found["choices"]
    assert (small["blocks"], small["is_auto"], small["refused"]) == (1, True, 1)
    assert (large["blocks"], large["is_auto"], large["refused"]) == (4, False, 1)
    assert (large["tried"], large["level"], large["ended_by"]) == (4, 1, "winner")
    # 10 us + 64 KiB at 10 GB/s, times 1 + (k mod 11) / 100, and 1.2 for two powers of two
    assert large["measured"]["median_us"] == pytest.approx(16.55 * 1.05, rel=0.01)
    assert large["auto"]["median_us"] == pytest.approx(1.2 * 16.55 * 1.05, rel=0.01)
    lines = done.stdout.splitlines()
    (row,) = [line.split() for line in lines if line.strip().startswith("64K")]
    assert row[:9] == ["64K", "signal", "4x1", "1K", "radix", "2", "search", "4", "1"]
    assert row[-2:] == ["1.20x", "±2%"]
    (row,) = [line.split() for line in lines if line.strip().startswith("4K")]
    assert row[6:9] == ["auto", "2", "2"]
    assert row[-2] == "1.00x"
    assert "# left out: 4096 bytes, signal, 2 x 1 threads, chunks of 1K, radix 2: 2 blocks" in (
        done.stdout
    )
    record = read(tmp_path / "run.json")
    assert record["settings"]["tune"]["protocols"] == ["signal"]
    assert record["settings"]["iters"] is None
    assert record["environment"]["tuning"] == found
    shapes = [(r["size_bytes"], r["shape"]["blocks"], r["stop_reason"]) for r in record["results"]]
    assert (65536, 8, "slower") in shapes
    assert (65536, 4, "winner") in shapes


def test_where_all_are_alike_what_auto_chooses_stays(
    run_command: Callable[..., Any], tmp_path: Path
):
    done = run_command(*FAKE, "--sizes", "64K", "--chunk", "4K", "--output", tmp_path / "t.json")
    assert done.code == 0, done.stderr
    (choice,) = table(tmp_path / "t.json")["choices"]
    assert choice["is_auto"]
    assert choice["measured"] == choice["auto"]
    assert choice["level"] == choice["tried"] == 16  # 8 of them in one-shot
    assert choice["ended_by"] == "alike"


def test_a_launch_of_autos_that_is_refused_is_no_obstacle(
    run_command: Callable[..., Any], tmp_path: Path
):
    done = run_command(
        *FAKE, "--sizes", "4K", "--output", tmp_path / "t.json",
        environment={"NVRAR_BENCH_FAKE": "refused=1"},
    )  # fmt: skip
    assert done.code == 0, done.stderr
    (choice,) = table(tmp_path / "t.json")["choices"]
    assert (choice["blocks"], choice["auto"], choice["is_auto"]) == (2, None, False)


def test_where_every_launch_is_refused_nothing_is_written(
    run_command: Callable[..., Any], tmp_path: Path
):
    done = run_command(
        *FAKE, "--sizes", "4K", "--blocks", "1", "--output", tmp_path / "t.json",
        environment={"NVRAR_BENCH_FAKE": "refused=1"},
    )  # fmt: skip
    assert done.code == 2
    assert "no launch can be tried at 4096 bytes, signal, 1 x 1 threads" in one_error(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_result_ends_the_search(run_command: Callable[..., Any], tmp_path: Path):
    done = run_command(
        *FAKE, "--sizes", "4,4K", "--output", tmp_path / "t.json",
        environment={"NVRAR_BENCH_FAKE": "wrong=17"},
    )  # fmt: skip
    assert done.code == 3
    message = one_error(done.stderr)
    assert message.startswith("fake (signal, 1 x 1 threads, chunks of 2K, radix 2) gave a wrong")
    (choice,) = table(tmp_path / "t.json")["choices"]  # of the size that was finished
    assert choice["size_bytes"] == 4


def test_an_interrupted_search_leaves_the_sizes_that_were_finished(
    start: Callable[..., Any], tmp_path: Path
):
    path = tmp_path / "t.json"
    job = start(*FAKE, "--sizes", "4K,8K,16K,32K,64K,128K,256K", "--output", path)
    assert wait_until(path.exists, 60.0)
    job.send(job.first(), 2)
    done = job.end(60.0)
    assert done.code == 130
    found = table(path)
    assert found["status"] == "interrupted"
    assert 1 <= len(found["choices"]) < 7
    assert [each.name for each in tmp_path.iterdir()] == ["t.json"]


def test_the_record_alone_on_stdout(run_command: Callable[..., Any], tmp_path: Path):
    words = ("--sizes", "64", "--max-time", 5, "--output", tmp_path / "t.json", "--json", "-")
    done = run_command(*FAKE, *words)
    assert done.code == 0, done.stderr
    assert done.record()["environment"]["tuning"] == table(tmp_path / "t.json")


# ---- really, and what a sweep makes of it ------------------------------------------------------


@pytest.fixture(scope="module")
def tunings() -> dict[str, str]:
    """The table and the record of one search, once it has been made."""
    return {}


@pytest.fixture
def tuned(run_command: Callable[..., Any], tmp_path: Path, tunings: dict[str, str]) -> Path:
    """A table for two ranks on one node, of launches that `auto` does not choose."""
    path, run = tmp_path / "tuned.json", tmp_path / "tune.json"
    if not tunings:
        words = ("--sizes", "4K,32K", "--chunk", "1K", "--max-time", 3)
        done = run_command("tune", "--ranks", 2, *words, "--output", path, "--json", run)
        assert done.code == 0, done.stderr
        value = table(path)
        for choice in value["choices"]:
            choice.update(protocol="packet", chunk_bytes=1024)
        tunings.update(table=json.dumps(value), record=run.read_text())
    path.write_text(tunings["table"])
    run.write_text(tunings["record"])
    return path


def test_two_ranks_are_tuned_and_a_sweep_follows(
    run_command: Callable[..., Any], tuned: Path, tmp_path: Path
):
    candidates = results(tmp_path / "tune.json")
    assert {r["check"]["status"] for r in candidates} == {"passed"}
    assert {(r["variant"], r["shape"]["chunk_bytes"]) for r in candidates} >= {
        ("signal", 1024), ("packet", 1024)
    }  # fmt: skip
    words = ("--ranks", 2, "--sizes", "4K,16K,256K", "-n", 5, "-w", 1, "--backend", "nvrar")
    run = tmp_path / "run.json"
    done = run_command("sweep", *words, "--tuning", tuned, "--json", run)
    assert (done.code, messages(done.stderr)) == (0, [])
    found = {r["size_bytes"]: (r["variant"], r["shape"]) for r in results(run)}
    shape = {"blocks": 1, "threads": 1, "chunk_bytes": 1024, "radix": 2, "exchange": "doubling"}
    assert found[4096] == ("packet", {**shape, "tuned_at": 4096})
    assert found[16384] == ("packet", {**shape, "tuned_at": 32768})
    protocol, beyond = found[262144]
    assert (protocol, beyond["tuned_at"]) == ("signal", None)
    assert "nvrar 256K: tuning: the table has no size within a factor of 2" in done.stdout
    settings = read(run)["settings"]
    assert settings["tuning"] == str(tuned)
    assert re.fullmatch("[0-9a-f]{64}", settings["tuning_sha256"])


def test_the_variable_names_a_table_and_the_user_comes_before_it(
    run_command: Callable[..., Any], tuned: Path, tmp_path: Path
):
    words = ("--ranks", 2, "--sizes", "4K", "-n", 5, "-w", 1, "--chunk", "2K")
    named = {"NVRAR_BENCH_TUNING": str(tuned)}
    run = tmp_path / "run.json"
    done = run_command("sweep", *words, "--json", run, environment=named)
    assert done.code == 0, done.stderr
    mpi, nvrar = results(run)
    assert mpi["shape"] is None
    assert nvrar["shape"]["chunk_bytes"] == 2048
    assert "tuning: --chunk 2048 stands in place of the table's 1024" in nvrar["warnings"]


@pytest.mark.slow
def test_another_topology_is_refused(run_command: Callable[..., Any], tuned: Path):
    done = run_command("sweep", "--ranks", 4, "--nodes", 2, "--sizes", "4K", "--tuning", tuned)
    assert done.code == 2
    assert one_error(done.stderr) == (
        f"--tuning {tuned} was made for something else: nodes 1 there, 2 here; virtual_nodes no "
        "there, yes here; allowed: a table that `nvrar-bench tune` makes here"
    )


def test_where_nvrar_does_not_run_its_table_is_no_matter(
    run_command: Callable[..., Any], tuned: Path
):
    words = ("--ranks", 3, "--backend", "mpi", "--sizes", "4", "-n", 1, "-w", 0)
    assert run_command("sweep", *words, "--tuning", tuned).code == 0


def test_other_kernels_and_another_processor_are_warned_of(
    run_command: Callable[..., Any], tuned: Path, tmp_path: Path
):
    value = table(tuned)
    value["made_on"].update(processor="an abacus", kernels_sha256="0" * 64)
    tuned.write_text(json.dumps(value))
    run = tmp_path / "run.json"
    words = ("--ranks", 2, "--backend", "nvrar", "--sizes", "4K", "-n", 1, "-w", 0)
    assert run_command("sweep", *words, "--tuning", tuned, "--json", run).code == 0
    (result,) = results(run)
    texts = [text for text in result["warnings"] if text.startswith("tuning: ")]
    assert texts[0].startswith("tuning: the table was made on an abacus, this is ")
    assert texts[1].startswith("tuning: the kernels are not those")


def test_a_check_follows_too(run_command: Callable[..., Any], tuned: Path):
    case = tuned.with_name("own.toml")
    case.write_text('[[sweep]]\nname = "own"\nsizes = ["4K"]\n')
    run = tuned.with_name("check.json")
    words = ("--case", case, "--ranks", 2, "--backend", "nvrar", "--tuning", tuned, "--json", run)
    done = run_command("check", *words)
    assert done.code == 0, done.stderr
    (result,) = results(run)
    assert (result["variant"], result["shape"]["tuned_at"]) == ("packet", 4096)


@pytest.mark.slow
def test_two_nodes_of_two_ranks(run_command: Callable[..., Any], tmp_path: Path):
    path, run = tmp_path / "t.json", tmp_path / "run.json"
    words = ("--sizes", "2K", "--buffers", "symmetric,private", "--max-time", 0.5)
    done = run_command("tune", "--ranks", 4, "--nodes", 2, *words, "--output", path)
    assert (done.code, messages(done.stderr)) == (0, [])
    found = table(path)
    assert found["made_for"]["nodes"] == 2
    assert found["made_for"]["virtual_nodes"]
    assert [(c["buffers"], c["size_bytes"]) for c in found["choices"]] == [
        ("symmetric", 2048), ("private", 2048),
    ]  # fmt: skip
    words = ("--ranks", 4, "--nodes", 2, "--backend", "nvrar", "--sizes", "4K", "-n", 2)
    done = run_command("sweep", *words, "--tuning", path, "--json", run)
    assert done.code == 0, done.stderr
    (result,) = results(run)
    assert result["shape"]["tuned_at"] == 2048


def test_virtual_ranks_have_blocks_threads_and_radices(
    run_command: Callable[..., Any], tmp_path: Path
):
    path, run = tmp_path / "t.json", tmp_path / "run.json"
    words = ("--sizes", "8K", "--blocks", "1,2", "--threads", "1,2", "--chunk", "1K")
    loopback = ("--device", "cpu", "--fabric", "loopback", "--virtual-ranks", 4, "--nodes", 4)
    done = run_command(
        "tune", *loopback, *words, "--radix", "2,4", "--max-time", 2, "--output", path,
        "--json", run,
    )  # fmt: skip
    assert (done.code, messages(done.stderr)) == (0, [])
    tried = {
        (r["variant"], r["shape"]["blocks"], r["shape"]["threads"], r["shape"]["radix"])
        for r in results(run)
        if r["shape"]["chunk_bytes"] == 1024
    }
    assert tried >= {
        (protocol, blocks, threads, radix)
        for protocol in ("signal", "packet") for blocks in (1, 2) for threads in (1, 2)
        for radix in (2, 4)
    }  # fmt: skip
    (choice,) = table(path)["choices"]
    assert choice["tried"] == len(results(run))
    checked = run_command("check", *loopback, "--case", "smoke", "--tuning", path)
    assert checked.code == 0, checked.stderr


# ---- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ["--output"]),
        ("--output -", ["--output -", "a file"]),
        ("--output missing/t.json", ["--output", "missing/t.json", "existing folder"]),
        ("--output t.json --json t.json", ["--output t.json", "--json"]),
        ("--output t.json --blocks 1,x", ["--blocks 'x'", "from 1 to"]),
        ("--output t.json --blocks 2", ["--blocks 2", "allowed here: 1"]),
        ("--output t.json --threads 0", ["--threads '0'", "from 1 to"]),
        ("--output t.json --chunk 3", ["--chunk 3", "16 bytes and more"]),
        ("--output t.json --chunk 1K,1000", ["--chunk 1000", "1024 to 65536"]),
        ("--output t.json --radix 1", ["--radix '1'", "from 2 to 64"]),
        ("--output t.json --exchange auto", ["--exchange 'auto'", "doubling, halving"]),
        ("--output t.json --protocol auto", ["--protocol 'auto'", "signal, packet"]),
        ("--output t.json --protocol signal,", ["--protocol ''", "signal, packet"]),
        ("--output t.json --backend mpi", ["--backend mpi", "nvrar, fake"]),
        ("--output t.json --max-time 0", ["--max-time 0", "more than 0"]),
        ("--output t.json --max-time x", ["--max-time", "x", "number"]),
        ("--output t.json --dtype float31", ["--dtype", "float31", "bfloat16"]),
        ("--output t.json --min 2M --max 1M", ["--min 2M", "--max 1M"]),
        ("--output t.json --fabric loopback", ["--fabric loopback", "--virtual-ranks N"]),
    ],
)
def test_a_mistake_is_one_message(
    run_command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    words: list[str],
):
    monkeypatch.chdir(tmp_path)
    done = run_command("tune", "--sizes", "4K", *line.split()) if "--min" not in line else (
        run_command("tune", *line.split())
    )  # fmt: skip
    assert (done.code, done.stdout) == (2, "")
    message = one_error(done.stderr)
    for word in words:
        assert word in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ranks", [(), ("--ranks", 2)])
def test_a_table_that_is_none_is_refused_before_any_rank_starts(
    run_command: Callable[..., Any], tmp_path: Path, ranks: tuple[Any, ...]
):
    path = tmp_path / "t.json"
    path.write_text("{")
    done = run_command("sweep", *ranks, "--tuning", path)
    assert (done.code, done.stdout) == (2, "")
    assert one_error(done.stderr).startswith(f"--tuning {path} is not the JSON of a tuning table")


def test_its_schema_is_printed(run_command: Callable[..., Any]):
    done = run_command("schema", "tuning")
    assert (done.code, json.loads(done.stdout)) == (0, schema_of(TuningDocument))
