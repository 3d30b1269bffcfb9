"""Which machine's kernels a machine without a compiler is given."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.devices.sharing import _given, _givers
from nvrar_bench.errors import CompilerError
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import START_GATE

LACKS = CompilerError("no compiler")


def test_who_lacks_a_kernel_is_given_that_of_the_first_rank_of_its_processor():
    everyone = [("old", None), ("new", None), ("new", LACKS), ("new", None), ("old", LACKS)]
    assert _givers(everyone, ["a", "b", "c", "d", "e"]) == {2: 1, 4: 0}


def test_code_for_another_processor_is_not_taken():
    with pytest.raises(CompilerError, match=r"^rank 1 on b: no compiler$"):
        _givers([("old", None), ("new", LACKS)], ["a", "b"])


def test_all_that_lack_it_say_the_same():
    with pytest.raises(CompilerError, match=r"^no compiler$"):
        _givers([("old", LACKS), ("new", LACKS)], ["a", "b"])


def test_libraries_from_memory_are_each_their_own(kernel_cache):
    whole = host.build(START_GATE).read_bytes()
    first, second = host.load_bytes(whole), host.load_bytes(whole)
    assert first._handle != second._handle
    assert first.nvrar_do_work


class Bystanders:
    """Rank 1 lacks a library, as rank 3 does, whose processor is another's."""

    rank = 1

    def __init__(self, library: bytes) -> None:
        self.library, self.heard = library, []

    def allgather(self, value):
        return [("old", None), value, ("new", None), ("new", LACKS)]

    def bcast(self, value, root):
        self.heard.append(root)
        return [self.library]


def test_who_was_given_its_kernels_hears_the_other_givers_too(alone, kernel_cache, monkeypatch):
    monkeypatch.setattr(host, "processor", lambda: "old")
    everyone = Bystanders(host.build(START_GATE).read_bytes())
    world = replace(alone, comm=everyone, hosts=("a", "b", "c", "d"))
    (library,) = _given(world, LACKS, [])
    assert library.nvrar_do_work
    assert everyone.heard == [0, 2]
