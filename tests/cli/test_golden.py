"""All that a sweep of the `fake` backend writes, to the letter.

Its clock is made up, so only what differs between machines and runs is masked. After a change on
purpose, NVRAR_BENCH_GOLDEN=write in the environment writes the files anew: read the difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from output import messages, read, require_golden, valid

from nvrar_bench import __version__

SWEEP = (
    "sweep", "--backend", "fake", "--ranks", 2, "--sizes", "4,1000,64K,256K",
    "--dtype", "float32,bfloat16", "--iters", 100, "--warmup", 3, "--timeout", 120,
)  # fmt: skip
UTF8 = {"PYTHONUTF8": "1"}
_MACHINE = re.compile(r"^# (MPI library|CPU|kernel compiler|host): .*$", re.MULTILINE)
_NOTES = re.compile(r"^#\n# note.*\Z", re.MULTILINE | re.DOTALL)  # with fewer than 2 cores


def _masked_table(text: str) -> str:
    text = _NOTES.sub("", _MACHINE.sub(r"# \1: ...", text))
    return text.replace(f"nvrar-bench {__version__}\n", "nvrar-bench ...\n")


def _masked_record(record: dict[str, Any]) -> dict[str, Any]:
    volatile = ("id", "started_at", "finished_at", "command", "version")
    run = {key: "..." if key in volatile else value for key, value in record["run"].items()}
    topology = record["topology"]
    places = [{**place, "host": "..."} for place in topology["placement"]]
    return {
        **record,
        "run": run,
        "topology": {**topology, "placement": places},
        "environment": dict.fromkeys(record["environment"], "..."),
        "results": [{**result, "warnings": "..."} for result in record["results"]],
    }


def _lines(record: dict[str, Any]) -> str:
    """One line per key and one per result, to be read and diffed."""
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    return ",\n".join(parts).replace('}, {"backend"', '},\n  {"backend"') + "\n"


def test_table_and_record_in_a_file(run_command: Callable[..., Any], tmp_path: Path):
    path = tmp_path / "run.json"
    done = run_command(*SWEEP, "--json", path, environment=UTF8)
    assert (done.code, messages(done.stderr)) == (0, [])
    require_golden("sweep.txt", _masked_table(done.stdout))
    require_golden("sweep.json", _lines(_masked_record(read(path))))
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_record_alone_on_stdout(run_command: Callable[..., Any]):
    done = run_command(*SWEEP, "--json", "-", environment=UTF8)
    assert (done.code, messages(done.stderr)) == (0, [])
    require_golden("sweep.json", _lines(_masked_record(valid(json.loads(done.stdout)))))


def test_summary_of_check(run_command: Callable[..., Any], tmp_path: Path):
    case = tmp_path / "own.toml"
    case.write_text('[[sweep]]\nname = "own"\nsizes = [4, "1K"]\nplacement = ["in_place"]\n')
    words = ("check", "--case", case, "--backend", "fake", "--ranks", 2)
    done = run_command(*words, "--json", tmp_path / "run.json", environment=UTF8)
    assert (done.code, messages(done.stderr)) == (0, [])
    require_golden("check.txt", re.sub("MPI library: .*", "MPI library: ...", done.stdout))
    assert [r["samples"] for r in read(tmp_path / "run.json")["results"]] == [1, 1]


def test_table_where_there_is_no_unicode(run_command: Callable[..., Any]):
    words = ("sweep", "--backend", "fake", "--sizes", "64", "--iters", 1, "--warmup", 0)
    done = run_command(*words, environment={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.code, messages(done.stderr)) == (0, [])
    assert "us +-95%" in done.stdout
