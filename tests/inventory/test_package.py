"""The package, Python, and modules that do not load."""

from __future__ import annotations

import sys

import nvrar_bench
from nvrar_bench.inventory import package
from nvrar_bench.inventory.package import module


def test_this_installation():
    rows = [row for probe in package.PROBES for row in probe.take()]
    assert [row.status for row in rows] == ["here"] * len(rows)
    assert rows[0].version == nvrar_bench.__version__


def test_kernel_sources_that_are_not_there(monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", "/nowhere")
    (row,) = next(one for one in package.PROBES if one.name == "kernel sources").take()
    assert (row.status, row.problem) == (
        "wrong", "NVRAR_BENCH_KERNELS=/nowhere: no such folder; unset it or name one",
    )  # fmt: skip


def test_a_module_that_does_not_load(tmp_path, monkeypatch):
    (tmp_path / "brokenmodule.py").write_text("raise OSError('libblas.so.3: cannot open')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = module("brokenmodule", "numpy")
    assert (found.status, found.problem) == (
        "wrong",
        "it cannot be loaded (libblas.so.3: cannot open): pip install --force-reinstall numpy",
    )
    assert "brokenmodule" not in sys.modules


def test_a_module_that_is_not_installed():
    found = module("nowhere", "no-such-package")
    assert found.problem == "not installed: pip install no-such-package"
