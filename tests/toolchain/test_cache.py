"""Entries of the kernel cache: built once, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nvrar_bench.errors import Unavailable
from nvrar_bench.toolchain.cache import cache_dir, content_key, find_or_build

RACERS = 8
RACER = """
import sys, time
from pathlib import Path
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import START_GATE
gate = START_GATE
host.compiler()
print("ready", flush=True)
sys.stdin.readline()
path = host.build(gate)
host.load(path).nvrar_pass_gate
print(path)
"""


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"NVRAR_BENCH_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"NVRAR_BENCH_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/nvrar-bench"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/nvrar-bench"),
        ({"HOME": "/c"}, "/c/.cache/nvrar-bench"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, folder):
    for name in ("NVRAR_BENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(folder)


def test_keys_tell_lists_of_facts_apart():
    lists = [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""], ["ab", "é"], []]
    keys = [content_key(facts) for facts in lists]
    assert len(set(keys)) == len(lists)
    assert content_key(["ab", "c"]) == keys[0]
    assert all(len(key) == 32 and key.isalnum() for key in keys)


class Builder:
    """Writes a file, and counts how often."""

    def __init__(self, text: str = "made") -> None:
        self.text, self.times = text, 0

    def __call__(self, folder: Path) -> None:
        assert list(folder.iterdir()) == []
        self.times += 1
        (folder / "file").write_text(self.text)


def test_an_entry_is_built_once(cache):
    build = Builder()
    paths = {find_or_build("name", "key", "file", build) for _ in range(3)}
    assert paths == {cache / "name-key" / "file"}
    assert build.times == 1
    assert find_or_build("name", "other", "file", build) == cache / "name-other" / "file"
    assert build.times == 2


def test_a_build_that_fails_leaves_nothing(cache):
    def fail(folder: Path) -> None:
        (folder / "file").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        find_or_build("name", "key", "file", fail)
    assert list(cache.iterdir()) == []
    assert find_or_build("name", "key", "file", Builder()).read_text() == "made"


def test_who_comes_second_uses_what_the_first_one_made(cache):
    def late(folder: Path) -> None:
        find_or_build("name", "key", "file", Builder("first"))
        Builder("second")(folder)

    assert find_or_build("name", "key", "file", late).read_text() == "first"
    assert [path.name for path in cache.iterdir()] == ["name-key"]


def test_nobody_sees_half_an_entry(cache):
    def build(folder: Path) -> None:
        Builder()(folder)
        visible = [path.name for path in cache.iterdir() if not path.name.startswith(".")]
        assert visible == []

    find_or_build("name", "key", "file", build)


def test_an_entry_that_lost_its_file_is_built_again(cache):
    path = find_or_build("name", "key", "file", Builder("old"))
    (path.parent / "more").write_text("what a cleaner of old files left")
    path.unlink()
    assert find_or_build("name", "key", "file", Builder("new")).read_text() == "new"


def test_a_cache_that_cannot_be_written_is_told_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NVRAR_BENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(Unavailable) as caught:
        find_or_build("name", "key", "file", Builder())
    assert str(caught.value) == (
        f"the kernel cache {tmp_path}/file/cache cannot be written (Not a directory); "
        "set NVRAR_BENCH_CACHE to a folder that can"
    )


def test_processes_that_build_one_kernel_at_once_share_one_entry(cache):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(RACERS)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    paths = Counter(racer.communicate(timeout=100)[0] for racer in racers)
    assert [racer.returncode for racer in racers] == [0] * RACERS
    (entry,) = cache.iterdir()
    assert paths == {f"{entry}/kernel.so\n": RACERS}
    assert sorted(path.name for path in entry.iterdir()) == [
        "command.txt",
        "kernel.cpp",
        "kernel.so",
        "sha256",
    ]
