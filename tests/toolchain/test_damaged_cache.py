"""A kernel cache that is damaged, full, or on a file system that runs no code."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mounts import mounted

from nvrar_bench.errors import CompilerError, Unavailable
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.cache import find_or_build, require_usable
from nvrar_bench.toolchain.kernel import START_GATE

ANSWER = 'extern "C" int answer() { return 42; }\n'


class Answer:
    """A kernel that is built in no time."""

    name, source = "answer", ANSWER


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut at 1,000 bytes": lambda content: content[:1000],
    "empty": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "zeroed in the middle": lambda content: content[:4096] + bytes(4096) + content[8192:],
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "other content": lambda content: b"not found\n",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_built_again(cache: Path, damage: str):
    library = host.build(Answer())
    whole = library.read_bytes()
    library.write_bytes(DAMAGES[damage](whole))
    assert host.build(Answer()) == library
    assert library.read_bytes() == whole
    assert host.load(library).answer() == 42
    assert sorted(path.name for path in cache.iterdir()) == [library.parent.name]


def test_a_run_builds_a_cut_library_again(run_command: Any, tmp_path: Path):
    """Loading it would be a SIGBUS."""
    words = ["sweep", "--backend", "nvrar", "--sizes", "64", "-n", "1", "-w", "0"]
    environment = {"NVRAR_BENCH_CACHE": str(tmp_path / "cache")}
    assert run_command(*words, environment=environment).code == 0
    libraries = list(tmp_path.glob("cache/*/kernel.so"))
    for library in libraries:
        os.truncate(library, 1000)
    done = run_command(*words, environment=environment)
    assert (done.code, done.stderr.count("error")) == (0, 0), done.stderr
    assert libraries
    assert all(library.stat().st_size > 1000 for library in libraries)


def test_the_digests_are_those_that_sha256sum_reads(cache: Path):
    folder = host.build(Answer()).parent
    command = ["sha256sum", "--check", "--strict", "sha256"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3


def test_what_lies_beside_the_library_counts_too(cache: Path):
    library = host.build(Answer())
    for spoil in (Path.unlink, lambda path: path.write_text("")):
        spoil(library.parent / "command.txt")
        assert host.build(Answer()) == library
        assert "answer" in (library.parent / "command.txt").read_text()


def test_an_entry_without_digests_is_built_again(cache: Path):
    library = host.build(Answer())
    (library.parent / "sha256").unlink()
    library.write_bytes(b"")
    assert host.build(Answer()).stat().st_size > 0


def test_who_has_loaded_a_library_keeps_it(cache: Path):
    """The new one has the name of the old one, whose pages stay as they are."""
    library = host.build(Answer())
    loaded, inode = host.load(library), library.stat().st_ino
    (library.parent / "sha256").write_text("damaged")
    host.build(Answer())
    assert library.stat().st_ino != inode
    assert loaded.answer() == 42


def test_a_file_is_at_no_moment_missing(cache: Path, monkeypatch: pytest.MonkeyPatch):
    library = host.build(Answer())
    library.write_bytes(b"damaged")
    replace, seen = Path.replace, []

    def watched(path: Path, target: Path) -> Path:
        result = replace(path, target)
        seen.append((target.name, library.is_file()))
        return result

    monkeypatch.setattr(Path, "replace", watched)
    host.build(Answer())
    assert [there for _, there in seen] == [True] * 4
    assert seen[-1][0] == "sha256"


# ---- the file system ---------------------------------------------------------------------------


@pytest.fixture
def noexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with mounted(tmp_path / "noexec", "noexec,size=4m") as folder:
        monkeypatch.setenv("NVRAR_BENCH_CACHE", str(folder))
        yield folder


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with mounted(tmp_path / "full", "size=64k") as folder:
        (folder / "much").write_bytes(bytes(60 << 10))
        monkeypatch.setenv("NVRAR_BENCH_CACHE", str(folder))
        yield folder


NOEXEC = (
    "the kernel cache {} may hold no code that runs (it is mounted noexec); "
    "set NVRAR_BENCH_CACHE to a folder on another file system"
)


def test_a_file_system_that_runs_no_code(noexec: Path):
    for attempt in (require_usable, lambda: host.load(host.build(Answer()))):
        with pytest.raises(Unavailable) as caught:
            attempt()
        assert str(caught.value) == NOEXEC.format(noexec)


def test_env_says_that_no_code_runs_there(noexec: Path, run_command: Any):
    done = run_command("env", "--json", "-")
    rows = {row["name"]: row for row in done.record()["rows"]}
    assert rows["kernel cache"]["status"] == "wrong"
    assert "mounted noexec" in rows["kernel cache"]["problem"]
    abilities = {(a["device"], a["backend"]): a for a in done.record()["abilities"]}
    assert not abilities["cpu", None]["can_run"]


def test_a_run_says_that_no_code_runs_there(noexec: Path, run_command: Any):
    done = run_command("sweep", "--ranks", 2, "--backend", "nvrar", "--sizes", "64", "-n", "1")
    assert done.code == 5
    assert done.stderr.count(f"nvrar-bench: error: {NOEXEC.format(noexec)}\n") == 1, done.stderr


def test_a_full_disk(full: Path, run_command: Any):
    for kernel in (START_GATE, Answer()):
        with pytest.raises(Unavailable) as caught:
            host.build(kernel)
        message = str(caught.value)
        assert "No space left on device" in message
        assert "NVRAR_BENCH_CACHE" in message
        assert str(full) in message
    done = run_command("sweep", "--ranks", 2, "--backend", "nvrar", "--sizes", "64", "-n", "1")
    assert done.code == 5
    assert done.stderr.count("nvrar-bench: error: ") == 1, done.stderr
    assert "No space left on device" in done.stderr


def test_a_disk_that_fills_up_while_an_entry_is_written(cache: Path):
    def build(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(Unavailable) as caught:
        find_or_build("name", "key", "file", build)
    assert str(caught.value) == (
        f"the kernel cache {cache} cannot be written (No space left on device); "
        "set NVRAR_BENCH_CACHE to a folder that can"
    )
    assert list(cache.iterdir()) == []


def test_a_compiler_whose_own_files_find_no_space(cache: Path, script: Any):
    script("echo 'Cannot create temporary file in /t/: No space left on device' >&2; exit 1")
    with pytest.raises(CompilerError) as caught:
        host.build(START_GATE)
    assert str(caught.value) == (
        "the compiler could not write kernel start-gate-host (Cannot create temporary file in "
        "/t/: No space left on device): free space there, or set NVRAR_BENCH_CACHE, and TMPDIR "
        "for the compiler's own files, to other folders"
    )


def test_a_library_that_is_none(tmp_path: Path, cache: Path):
    (tmp_path / "kernel.so").write_text("text")
    with pytest.raises(Unavailable, match=r"kernel.so cannot be loaded .*; remove .*built anew"):
        host.load(tmp_path / "kernel.so")


# ---- names -------------------------------------------------------------------------------------


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NVRAR_BENCH_CACHE", os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    assert ctypes.CDLL(str(host.build(Answer()))).answer() == 42
    assert b"caf\xe9" in next(tmp_path.glob("*/*/command.txt")).read_bytes()


@pytest.mark.parametrize("line", ["env", "sweep --ranks 2 --backend nvrar --sizes 64 -n 1"])
def test_commands_with_a_cache_whose_name_is_not_utf_8(tmp_path: Path, line: str):
    environment = {**os.environb, b"NVRAR_BENCH_CACHE": bytes(tmp_path) + b"/caf\xe9"}
    command = [sys.executable, "-m", "nvrar_bench", *line.split(), "--json", "-"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    done.stdout.decode("utf-8")


@pytest.mark.parametrize("text", ["g++ 'open", "'"])
def test_an_open_quote_in_cxx(monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setenv("CXX", text)
    with pytest.raises(CompilerError) as caught:
        host.compiler()
    assert str(caught.value).startswith(f"CXX={text}: No closing quotation; install one")
