"""What starts Python again runs the package it is of, whatever the current folder holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nvrar_bench
from nvrar_bench.launch import again

SCRIPT = Path(sys.executable).with_name("nvrar-bench")
ROOT = Path(nvrar_bench.__file__).parents[1]
SHADOWED = ("tempfile", "numpy", "runpy", "typer", "nvrar_bench/__init__", "nvrar_bench/__main__")
QUICK = ["sweep", "--sizes", "64", "-n", "2", "-w", "0"]
VIRTUAL = ["--virtual-ranks", "2", "--fabric", "loopback"]
STARTS = {"ranks": [*QUICK, "--ranks", "2"], "launches": [*QUICK, *VIRTUAL, "--launches", "2"]}

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="nvrar-bench is not installed")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder whose files have names that are imported, and must not be."""
    for name in SHADOWED:
        path = tmp_path / "foreign" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise SystemExit('the current folder was run: {name}')\n")
    return tmp_path / "foreign"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with another copy of the package, of version 9.9."""
    folder = tmp_path / "installed"
    shutil.copytree(ROOT / "nvrar_bench", folder / "nvrar_bench")
    for name in ("kernels", "cases"):
        shutil.copytree(ROOT / name, folder / "nvrar_bench" / "_data" / name, dirs_exist_ok=True)
    start = folder / "nvrar_bench" / "__init__.py"
    start.write_text(start.read_text().replace(nvrar_bench.__version__, "9.9"))
    return folder


@pytest.mark.parametrize("words", STARTS.values(), ids=STARTS)
@pytest.mark.parametrize("safe_path", ["", "1"], ids=["", "safe-path"])
def test_a_folder_of_foreign_modules(run_words, foreign, words, safe_path):
    safe = {"PYTHONSAFEPATH": safe_path}  # from Python 3.11 on it leaves out the folder of a script
    done = run_words([SCRIPT, *words, "--json", "-"], folder=foreign, environment=safe)
    assert done.code == 0, done.stderr
    assert done.record()["run"]["status"] == "complete"


def test_env_in_a_folder_of_foreign_modules(foreign):
    done = subprocess.run([SCRIPT, "env"], cwd=foreign, capture_output=True, text=True)
    assert (done.returncode, "the current folder was run" in done.stdout) == (0, False), done.stdout
    assert str(ROOT / "nvrar_bench") in done.stdout


@pytest.mark.parametrize("words", STARTS.values(), ids=STARTS)
def test_in_a_checkout_the_installed_copy_runs(run_words, installed, words):
    other = {"PYTHONPATH": str(installed)}
    done = run_words([SCRIPT, *words, "--json", "-"], folder=ROOT, environment=other)
    assert done.code == 0, done.stderr
    assert done.record()["run"]["version"] == "9.9"


def test_env_in_a_checkout_shows_the_installed_copy(installed):
    other = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run([SCRIPT, "env"], cwd=ROOT, env=other, capture_output=True, text=True)
    assert f"9.9, {installed / 'nvrar_bench'}" in done.stdout


def test_the_users_path_stays(tmp_path):
    """It may be what brings mpi4py; only the folder of the file that starts is left out."""
    package = tmp_path / "nvrar_bench"
    (package / "launch").mkdir(parents=True)
    shutil.copy(again.__file__, package / "launch")
    (package / "__init__.py").touch()
    (package / "show.py").write_text("import sys; print(sys.path)")
    python, _, module = again.command("nvrar_bench.show")
    words = [python, package / "launch" / "again.py", module]
    path = os.environ | {"PYTHONPATH": "/users/own"}
    done = subprocess.run(words, env=path, capture_output=True, text=True)
    assert "'/users/own'" in done.stdout, done.stderr
    assert str(tmp_path) not in done.stdout


def test_the_record_has_the_command_as_it_is_typed(run_command):
    done = run_command(*STARTS["ranks"], "--json", "-")
    assert done.record()["run"]["command"] == ["nvrar-bench", *QUICK, "--json", "-"]
