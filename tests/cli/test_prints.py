"""What libraries print goes to standard error: standard output is for results alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from broken import ALL

QUICK = ["sweep", "--backend", "fake", "--sizes", "64", "-n", "2", "-w", "0"]
PRINTS = [str(Path(__file__).with_name("broken.py")), "opening", "prints", str(ALL)]
PRINTED = ("printed in C", "printed in Python")
AT_EXIT = """
import atexit, ctypes
def put():
    ctypes.CDLL(None).puts(b"printed in C")
    ctypes.CDLL(None).fflush(None)
atexit.register(put)
"""


def _require_apart(done: Any, times: int, printed: tuple[str, ...] = PRINTED) -> None:
    """All of it is on standard error, `times` times."""
    assert done.code == 0, done.stderr
    for text in printed:
        assert text not in done.stdout
        assert done.stderr.count(text) == times, done.stderr


@pytest.mark.parametrize("json_", [["--json", "-"], []], ids=["json", "table"])
@pytest.mark.parametrize("ranks", [0, 1, 3])
def test_of_ranks(
    run_words: Any, mpirun: Any, mpirun_environment: Callable[[], dict[str, str]],
    json_: list[str], ranks: int,
):  # fmt: skip
    launcher = mpirun(ranks)[:3] if ranks else []
    words = [*launcher, sys.executable, *PRINTS, *QUICK, *json_]
    done = run_words(words, environment=mpirun_environment() if ranks else None)
    _require_apart(done, max(ranks, 1))
    if json_:
        assert done.record()["run"]["status"] == "complete"
    else:
        assert all(line[0] in "# " for line in done.stdout.splitlines())


@pytest.mark.parametrize("json_", [["--json", "-"], []], ids=["json", "table"])
@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="ranks"),
        pytest.param(["--launches", "2"], id="launches", marks=pytest.mark.slow),
    ],
)
def test_under_ranks(run_command: Any, tmp_path: Path, json_: list[str], more: list[str]):
    """Also what is printed at the very end, and by ranks that print no table."""
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    done = run_command(
        *QUICK, *json_, "--ranks", 2, *more, environment={"PYTHONPATH": str(tmp_path)}
    )
    assert "printed in C" in done.stderr
    _require_apart(done, done.stderr.count("printed in C"), ("printed in C",))
    if json_:
        assert json.loads(done.stdout)["run"]["status"] == "complete"


def test_a_command_without_ranks(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(AT_EXIT)
    done = subprocess.run(
        [sys.executable, "-m", "nvrar_bench", "schema"],
        env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == "printed in C\n"
    json.loads(done.stdout)


WIDTH = """
from nvrar_bench import streams
from nvrar_bench.launch.console import console
streams.take_over()
streams.results().write(str(console("stdout").width))
"""


def test_a_terminal_is_as_wide_as_it_is(tmp_path: Path):
    """Also where standard error, which descriptor 1 has become, is a file."""
    (tmp_path / "width.py").write_text(WIDTH)
    words = f"{sys.executable} {tmp_path}/width.py 2> {tmp_path}/err < /dev/null"
    command = f"unset COLUMNS; TERM=xterm {words}"
    child = pexpect.spawn("bash", ["-c", command], encoding="utf-8", dimensions=(40, 300))
    assert child.read().split() == ["300"]
    child.close()
    assert child.exitstatus == 0
