"""What is said of a thing that was looked for."""

from __future__ import annotations

import ctypes
import ctypes.util

from nvrar_bench.errors import Problem
from nvrar_bench.inventory import probe
from nvrar_bench.inventory.probe import Finding, Probe, installed, loaded, parts, wheel


def test_parts_are_one_line_each():
    assert parts(Problem("two\nlines", "a  fix")) == ("two lines", "a fix")
    assert parts("no fix") == ("no fix", None)
    assert parts(None) == (None, None)


def test_a_wheel_by_its_name():
    assert wheel("numpy", "pip install it").version == installed("numpy")
    absent = wheel("no-such-wheel", "pip install it")
    assert (absent.status, absent.problem) == ("missing", "not installed: pip install it")


def test_the_path_of_a_library_that_is_loaded(tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00 r-xp 00000000 00:00 0 /usr/lib/libmpi.so.40.30\n"
        "7f01 r-xp 00000000 00:00 0 /usr/lib/notlibmpi.so\n"
        "7f02 r-xp 00000000 00:00 0 /x/MPI.cpython-311.so\n"
        "7f03 rw-p 00000000 00:00 0 [heap]\n"
    )
    monkeypatch.setattr(probe, "_MAPS", maps)
    assert loaded("libmpi") == "/usr/lib/libmpi.so.40.30"
    assert loaded("libmpich") is None


def test_a_library_of_this_process_is_found():
    ctypes.CDLL(ctypes.util.find_library("m"))
    assert "/libm" in (loaded("libm") or "")


def test_a_row_has_the_name_of_what_was_found():
    named, plain = Probe("g", "things", ("cpu",), lambda: [Finding(name="x"), Finding()]).take()
    assert (named.name, plain.name, named.group) == ("x", "things", "g")
