"""`env` as its user types it: no mpirun, no MPI_Init, and a row for whatever is broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from output import one_error

from nvrar_bench.documents import schema_of
from nvrar_bench.documents.inventory import Inventory
from nvrar_bench.inventory import survey
from nvrar_bench.inventory.survey import STEPS
from nvrar_bench.toolchain import cuda
from nvrar_bench.toolchain.kernel import CUDA_GATE

sys.path.append(str(Path(__file__).resolve().parents[1] / "devices" / "cuda"))

Run = Callable[..., Any]
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def document(done: Any) -> dict[str, Any]:
    found = json.loads(done.stdout)
    jsonschema.validate(found, schema_of(Inventory), cls=jsonschema.Draft202012Validator)
    return found


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in found["rows"]}


def ability(found: dict[str, Any], device: str, backend: str | None = None) -> dict[str, Any]:
    (one,) = (
        one for one in found["abilities"] if (one["device"], one["backend"]) == (device, backend)
    )
    return one


@pytest.fixture(scope="module")
def stub(tmp_path_factory) -> dict[str, str]:
    """The environment with a driver that needs no GPU, and what it would have to compile."""
    pytest.importorskip("cuda.bindings.driver")
    from stub import build

    cuda.build(CUDA_GATE, "sm_90")  # NVRTC does not like this driver
    return {"LD_LIBRARY_PATH": str(build(tmp_path_factory.mktemp("stub")))}


def test_a_table(run_command: Run):
    done = run_command("env")
    assert (done.code, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("# nvrar-bench ")
    for title in ("# package", "# MPI", "# cpu device", "# cuda device", "# NCCL", "# network"):
        assert title in lines
    assert "  can run  device cpu" in lines
    words = {line.split()[0] for line in lines if not line.startswith("#")}
    assert words <= {"here", "missing", "wrong", "set", "can", "cannot"}


def test_json_alone_and_in_a_file(run_command: Run, tmp_path: Path):
    found = document(run_command("env", "--json", "-"))
    assert ability(found, "cpu", "nvrar")["can_run"] is True
    assert rows(found)["numpy"]["status"] == "here"
    path = tmp_path / "env.json"
    done = run_command("env", "--json", path)
    assert done.stdout.startswith("# nvrar-bench ")
    assert json.loads(path.read_text())["format"] == "nvrar-bench.env"


def test_the_schema_is_printed(run_command: Run):
    assert json.loads(run_command("schema", "env").stdout) == schema_of(Inventory)


def test_every_row_that_is_not_here_says_why_and_what_to_do(run_command: Run):
    for row in document(run_command("env", "--json", "-"))["rows"]:
        here = row["status"] == "here"
        assert (row["problem"] is None, row["fix"] is None) == (here, here), row


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "cuda"), "--device cuda is not available: "),
        (("--backend", "mpi,nccl"), "--backend nccl is not available: "),
        (("--device", "cpu", "--backend", "nccl"), "--backend nccl is not available: "),
    ],
)
def test_what_is_asked_for_and_cannot_run(run_command: Run, words, message):
    """As a sweep says it, and after the table."""
    done = run_command("env", *words, environment=NO_GPU)
    assert done.code == 5
    said = one_error(done.stderr)
    assert said.startswith(message)
    assert "# what this machine can run" in done.stdout
    swept = run_command("sweep", *words, "--sizes", "64", "-n", 1, environment=NO_GPU)
    assert (swept.code, one_error(swept.stderr)) == (5, said)


@pytest.mark.parametrize(
    "words", [("--device", "cpu"), ("--backend", "mpi,nvrar,fake"), ("--device", "auto")]
)
def test_what_is_asked_for_and_can_run(run_command: Run, words):
    done = run_command("env", *words, environment=NO_GPU)
    assert (done.code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (("--device", "gpu"), ["--device gpu", "auto, cpu, cuda"]),
        (("--backend", "rccl"), ["--backend rccl", "nccl, mpi, nvrar, fake"]),
        (("--backend", ""), ["--backend", "nccl, mpi"]),
        (("--json", "missing/env.json"), ["--json", "missing/env.json", "existing folder"]),
        (("extra",), ["extra"]),
    ],
)
def test_mistakes(run_command: Run, words, texts):
    done = run_command("env", *words)
    assert (done.code, done.stdout) == (2, "")
    message = one_error(done.stderr)
    assert [text for text in texts if text not in message] == []


def test_settings_but_no_secrets(run_command: Run):
    given = {
        "NCCL_ALGO": "Ring", "FI_PROVIDER": "cxi", "UCX_AUTH_TOKEN": "hunter2",
        "NCCL_PSK": "hunter2", "MY_PASSWORD": "hunter2",
    }  # fmt: skip
    done = run_command("env", "--json", "-", environment=given)
    settings = document(done)["settings"]
    assert (settings["NCCL_ALGO"], settings["FI_PROVIDER"]) == ("Ring", "cxi")
    assert "hunter2" not in done.stdout


# ---- broken machines -----------------------------------------------------------------------------


def test_no_mpi_library(run_command: Run):
    done = run_command("env", "--json", "-", environment={"MPI4PY_LIBMPI": "/nosuch.so"})
    assert done.code == 0
    found = document(done)
    assert rows(found)["MPI library"]["status"] == "missing"
    assert rows(found)["C++ compiler"]["status"] == "here"
    for device in ("cpu", "cuda"):
        assert "mpi4py finds no MPI library" in ability(found, device, "mpi")["reason"]


@pytest.mark.parametrize(
    ("variables", "row", "reason"),
    [
        ({"CXX": "no-such-compiler"}, "C++ compiler", "no such program"),
        ({"CXX": "false"}, None, "the compiler refused kernel start-gate-host"),
        ({"NVRAR_BENCH_CACHE": "/dev/null/x"}, "kernel cache", "cannot be written"),
        ({"NVRAR_BENCH_KERNELS": "/nowhere"}, "kernel sources", "no such folder"),
    ],
)
def test_a_cpu_device_that_cannot_build(run_command: Run, tmp_path, variables, row, reason):
    environment = {"NVRAR_BENCH_CACHE": str(tmp_path), **variables}
    done = run_command("env", "--device", "cpu", "--json", "-", environment=environment)
    assert done.code == 5
    assert reason in one_error(done.stderr)
    found = document(done)
    assert reason in ability(found, "cpu")["reason"]
    assert row is None or rows(found)[row]["status"] != "here"


def test_the_mpirun_of_another_mpi_first_on_path(run_command: Run, tmp_path: Path):
    other = tmp_path / "mpirun"
    other.write_text("#!/bin/sh\necho 'mpirun of nobody'\n")
    other.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    found = rows(document(run_command("env", "--json", "-", environment={"PATH": path})))
    assert found["mpirun for --ranks"]["status"] == "here"
    wrong = found["mpirun on PATH"]
    assert (wrong["status"], wrong["path"]) == ("wrong", str(other))
    assert "of an MPI that is not known" in wrong["problem"]
    assert wrong["fix"].startswith("export PATH=")


def test_a_machine_with_gpus(run_command: Run, stub):
    done = run_command("env", "--device", "cuda", "--json", "-", environment=stub)
    assert done.code == 0, done.stderr
    found = document(done)
    assert rows(found)["NVIDIA driver"]["version"] == "CUDA 13.0"
    assert rows(found)["GPU 1"]["detail"].startswith("sm_90, 64.0 GiB, GPU-a1a1a1a1-")
    assert ability(found, "cuda", "mpi")["can_run"] is True


@pytest.mark.parametrize(
    ("variables", "row", "status", "reason"),
    [
        ({"STUB_GPU": "version=12040"}, "NVIDIA driver", "wrong", "supports CUDA up to 12.4"),
        ({"STUB_GPU": "capability=75"}, "GPU 0", "wrong", "GPU 0 is sm_75; sm_80 and newer"),
        ({"STUB_GPU": "gpus=0"}, "GPUs", "missing", "no CUDA device is visible"),
        ({"STUB_GPU": "crash=1"}, "GPUs", "wrong", "ended its process (SIGABRT"),
    ],
)
def test_gpus_that_cannot_be_used(run_command: Run, stub, variables, row, status, reason):
    words = ("env", "--device", "cuda", "--json", "-")
    done = run_command(*words, environment={**stub, **variables})
    assert done.code == 5
    assert reason in one_error(done.stderr)
    found = document(done)
    assert (rows(found)[row]["status"], reason in rows(found)[row]["problem"]) == (status, True)
    assert ability(found, "cpu")["can_run"] is True


def test_a_driver_that_hangs(stub, monkeypatch):
    """Every step that asks it is given up, and the others are not."""
    for name, value in {**stub, "STUB_GPU": "hang=1"}.items():
        monkeypatch.setenv(name, value)
    limits = {"GPUs": 1.0, "cuda": 1.0}
    began = time.monotonic()
    steps = [replace(step, limit=limits.get(step.name, step.limit)) for step in STEPS]
    found = list(survey.results(steps, survey._COMMAND, lambda name: None))
    late = [one for one in found if "took more than 1 s" in (getattr(one, "problem", "") or "")]
    assert len(late) == 2
    assert {one.name: one.status for one in found[:2]} == dict.fromkeys(
        ("nvrar-bench", "kernel sources"), "here"
    )
    assert (found[-1].device, found[-1].backend) == ("cuda", "fake")
    assert time.monotonic() - began < 200


_LOADED = """
import sys
from nvrar_bench.__main__ import _run
code = _run()
print(code, sorted({name.split(".")[0] for name in sys.modules} & {"mpi4py", "numpy", "cuda"}),
      file=sys.stderr)
"""


def test_nothing_that_may_break_is_loaded_into_the_process_that_tells():
    line = [sys.executable, "-c", _LOADED, "env"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_mpi_is_not_initialised():
    """Not even by the worker, which loads it."""
    ask = (
        "from nvrar_bench.inventory import survey\n"
        "survey._forbid_mpi_init()\n"
        "for step in survey.STEPS: step.take()\n"
        "from mpi4py import MPI\n"
        "print(MPI.Is_initialized())\n"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr
