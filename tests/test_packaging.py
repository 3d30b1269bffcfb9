"""The wheel and the sdist hold all that a run needs, and a run from the wheel works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = {"kernels": "*.cuh", "cases": "*.toml", "networks": "*.toml"}


def _pip(*words: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    # With the build backend at hand nothing is downloaded.
    here = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    done = subprocess.run(
        [*command, *map(str, words), "--no-deps", *(here if words[0] == "wheel" else [])],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", REPOSITORY, "--wheel-dir", folder)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it, which sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    _pip("--python", python, "install", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path in a .pth file comes last, and .pth files that lie there are not read: the editable
    # nvrar_bench of this environment stays out of sight.
    places = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(places))
    return python


def _names(archive: Path) -> set[str]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            return set(file.namelist())
    with tarfile.open(archive) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def _expected(folder: str, below: str) -> set[str]:
    """What is in the checkout, less what Python left there."""
    paths = [path for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    kept = [path for path in paths if path.suffix != ".pyc"]
    return {below + path.relative_to(REPOSITORY / folder).as_posix() for path in kept}


def test_wheel_holds_package_kernels_and_cases(wheel: Path):
    names = _names(wheel)
    for folder, below in (
        ("nvrar_bench", "nvrar_bench/"),
        ("kernels", "nvrar_bench/_data/kernels/"),
        ("cases", "nvrar_bench/_data/cases/"),
    ):
        assert _expected(folder, below) - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"nvrar_bench"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_wheel_says_what_it_needs(wheel: Path):
    with zipfile.ZipFile(wheel) as file:
        (name,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = file.read(name).decode()
        (name,) = [name for name in file.namelist() if name.endswith("entry_points.txt")]
        entry_points = file.read(name).decode()
    assert "nvrar-bench = nvrar_bench.__main__:main" in entry_points
    assert "Requires-Dist: mpi4py" in metadata
    assert "Provides-Extra: cpu" in metadata
    assert "## First result" in metadata  # the README


def test_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path):
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (sdist,) = tmp_path.glob("*.tar.gz")
    names = _names(sdist)
    for folder in ("nvrar_bench", "kernels", "cases", "tests"):
        assert _expected(folder, f"{folder}/") - names == set(), folder
    _pip("wheel", sdist, "--wheel-dir", tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert _names(again) == _names(wheel)


def _environment() -> dict[str, str]:
    libraries = os.path.join(sys.prefix, "lib")
    beside = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        # An MPI from a wheel lies in the environment that it was installed into.
        "PATH": os.pathsep.join([beside, kept.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": os.pathsep.join([libraries, kept.get("LD_LIBRARY_PATH", "")]),
    }


def test_data_is_found_in_the_wheel(python: Path, tmp_path: Path):
    say = "import nvrar_bench.files as r; print(r.data_dir('kernels'), r.data_dir('cases'))"
    done = subprocess.run(
        [python, "-c", say], cwd=tmp_path, env=_environment(), capture_output=True, text=True
    )
    data = next(python.parents[1].glob("lib/python*/site-packages")) / "nvrar_bench" / "_data"
    assert done.stdout.split() == [str(data / "kernels"), str(data / "cases")], done.stderr
    for folder, pattern in DATA.items():
        assert list((data / folder).glob(pattern))


@pytest.fixture
def run_words(_jobs: Any) -> Callable[..., Any]:
    return _jobs.run


@pytest.mark.parametrize("words", ["--sizes 1K -n 5 -w 0", "--case smoke -n 2 -w 0"])
def test_sweep_from_the_wheel(
    run_words: Any, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = [str(python.with_name("nvrar-bench")), "sweep", "--ranks", "2", *words.split()]
    done = run_words([*command, "--json", "-"], environment=_environment())
    assert done.code == 0, done.stderr
    assert done.record()["run"]["command"][0] == "nvrar-bench"
    results = done.record()["results"]
    assert {result["backend"] for result in results} == {"mpi", "nvrar"}
    assert {result["check"]["status"] for result in results} == {"passed"}
    assert {result["samples"] for result in results} == ({5} if "1K" in words else {20})
