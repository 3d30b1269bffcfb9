"""What NCCL lacks here, with the fix, and what the record says of it."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

from nccl_recorder import Recorder

from nvrar_bench.backends import nccl, nccl_library


def test_what_is_missing_depends_on_the_device(monkeypatch):
    monkeypatch.setattr(nccl.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(nccl.driver.ctypes, "CDLL", str)
    assert nccl.missing().startswith("NCCL needs the cuda device (--device cuda)")
    monkeypatch.setattr(nccl_library, "library_problem", lambda: "no library")
    assert nccl.missing("cuda") == "no library"
    monkeypatch.setattr(nccl_library, "library_problem", lambda: None)
    monkeypatch.setattr(nccl, "NcclLibrary", lambda: Recorder(22809))
    assert nccl.missing("cuda") is None
    assert nccl.missing("cuda", ranks_per_gpu=2) == (
        "2 ranks share a GPU, which NCCL can do from 2.30.0 on, and this is 2.28.9: update it, or "
        "start one rank per GPU"
    )
    assert nccl_library.sharing_problem(23000, 8) is None


def test_a_library_that_does_not_load_is_named(monkeypatch):
    def absent(name: str) -> Any:
        raise RuntimeError("libnccl.so.2: cannot open shared object file")

    monkeypatch.setattr(nccl_library.importlib, "import_module", absent)
    assert "libnccl.so.2 cannot be loaded (libnccl.so.2: cannot" in nccl_library.library_problem()


def test_an_old_nccl4py_and_a_non_blocking_nccl_are_refused(monkeypatch):
    bindings = SimpleNamespace(get_version=lambda: 23203)
    monkeypatch.setattr(nccl_library.importlib, "import_module", lambda name: bindings)
    assert nccl_library.library_problem().startswith("this nccl4py is too old: ")
    bindings.comm_init_rank_scalable = bindings.Comm = print
    monkeypatch.setenv("NCCL_COMM_BLOCKING", "0")
    assert nccl_library.library_problem().startswith("NCCL_COMM_BLOCKING=0 starts a thread")


def test_what_the_calls_do_not_need_may_be_missing(monkeypatch):
    bindings = SimpleNamespace(get_version=lambda: 23203, comm_init_rank_scalable=print, Comm=print)

    def load(name: str) -> Any:
        if name == "nccl.core":
            raise ModuleNotFoundError("No module named 'packaging'")
        return bindings

    monkeypatch.setattr(nccl_library.importlib, "import_module", load)
    monkeypatch.delenv("NCCL_COMM_BLOCKING", raising=False)
    assert nccl_library.library_problem() is None


def test_an_nccl_for_a_newer_cuda_than_the_driver_is_refused():
    assert nccl_library.cuda_problem(12, 13) is None
    assert nccl_library.cuda_problem(13, 13) is None
    assert nccl_library.cuda_problem(13, 12).endswith("pip install 'nvrar-bench[cuda12]'")


def test_the_record_gets_the_variables_of_nccl_but_no_secret(monkeypatch):
    monkeypatch.setenv("NCCL_ALGO", "Ring")
    monkeypatch.setenv("NCCL_TOPO_FILE", "/var/run/nvidia-topologyd/virtualTopology.xml")
    monkeypatch.setenv("NCCL_PSK", "hunter2")
    monkeypatch.setenv("NCCL_PLUGIN_TOKEN", "hunter2")
    monkeypatch.setenv("NCCL_PROXY_URL", "https://me:hunter2@host/")
    monkeypatch.setenv("MY_NCCL_SECRET", "hunter2")
    facts = nccl_library.facts(23203, os.environ)
    assert facts["nccl"] == "2.32.3"
    assert facts["nccl_environment"]["NCCL_ALGO"] == "Ring"
    assert "NCCL_TOPO_FILE" in facts["nccl_environment"]
    assert "hunter2" not in str(facts)
    assert facts["nccl_algorithm"] is facts["nccl_protocol"] is None
    assert "NCCL_DEBUG_SUBSYS=TUNING" in facts["nccl_algorithm_reason"]
