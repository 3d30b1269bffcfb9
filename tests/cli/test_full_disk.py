"""A disk that fills up during a run: what was measured is shown, and the message names the path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mounts import mounted
from output import read

FAKE = ["--backend", "fake", "--sizes", "64,128", "-w", "0"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", "size=32k") as folder:
        yield folder


def _require_table_and_message(done: Any, path: Path) -> None:
    rows = [line.split()[:2] for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [row for row in rows if row] == [["64", "16"], ["128", "32"]], done.stdout
    assert done.code == 1, done.stderr
    message = f"nvrar-bench: error: --json {path}: No space left on device\n"
    assert done.stderr.count(message) == 1, done.stderr
    assert done.stderr.count("nvrar-bench: error: ") == 1, done.stderr


@pytest.mark.parametrize("ranks", [(), pytest.param(("--ranks", 2), marks=pytest.mark.slow)])
def test_in_mid_run(run_command: Callable[..., Any], small: Path, ranks: tuple[Any, ...]):
    path = small / "run.json"
    done = run_command("sweep", *FAKE, "-n", 2000, *ranks, "--json", path)
    _require_table_and_message(done, path)
    assert read(path)["run"]["status"] == "interrupted"  # the last that found room
    assert [each.name for each in small.iterdir()] == ["run.json"]


def test_between_launches(run_command: Callable[..., Any], small: Path):
    """The table has all of the launches, also the one whose record found no room."""
    path = small / "run.json"
    done = run_command(
        "sweep", *FAKE, "-n", 200, "--ranks", 2, "--launches", 4, "--json", path, timeout=250
    )
    _require_table_and_message(done, path)
    kept = read(path)["settings"]["launches"]
    assert f"launches: {kept + 1}\n" in done.stdout


def test_the_folder_of_temporary_files(run_command: Callable[..., Any], small: Path):
    """A launch that cannot leave its record shows what it has measured itself."""
    words = ["sweep", "--fabric", "loopback", "--virtual-ranks", 2, "--backend", "nvrar"]
    words += ["--sizes", 64, "-w", 0, "-n"]
    assert run_command(*words, 1).code == 0  # the compiler needs room there too
    done = run_command(*words, 5000, "--launches", 2, environment={"TMPDIR": str(small)})
    assert done.code == 1
    assert "No space left on device" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.split()[:2] == ["64", "16"]]
