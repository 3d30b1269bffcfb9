"""`--network` as its user types it: set before MPI starts, on every rank; in the record; in env."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from output import messages, one_error

from nvrar_bench.cli import execute
from nvrar_bench.errors import UsageError
from nvrar_bench.inventory import Finding
from nvrar_bench.inventory import network as adapters
from nvrar_bench.settings.options import SweepOptions
from nvrar_bench.settings.planning import sweep_settings
from nvrar_bench.settings.settings import Settings

Run = Callable[..., Any]
QUICK = ("--backend", "fake", "--sizes", "64", "--iters", "6")
# Open MPI prints what it was told by the environment as it starts.
SHOWN = '[[setting]]\nvariable = "OMPI_MCA_mpi_show_mca_params"\nvalue = "enviro"\n'


def planned(asked: str | None, device: str = "cpu") -> Settings:
    return sweep_settings(SweepOptions(device=device, network=asked))


def kinds(monkeypatch: pytest.MonkeyPatch, **found: str) -> None:
    rows = {kind: [Finding(status)] for kind, status in found.items()}
    monkeypatch.setattr(adapters, "kinds", lambda: rows)


def test_without_the_option_nothing_is_set():
    settings = planned(None)
    assert execute.with_network(settings) is settings


def test_a_name_that_is_none_is_refused_before_a_rank_starts():
    with pytest.raises(UsageError, match="--network 'ib': allowed: auto, infiniband"):
        planned("ib")


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({}, "tcp"),
        ({"roce": "here"}, "roce"),
        ({"roce": "here", "infiniband": "here"}, "infiniband"),
        ({"infiniband": "wrong", "roce": "here"}, "roce"),
        ({"slingshot": "here", "infiniband": "here"}, "slingshot"),
        ({"slingshot": "wrong"}, "tcp"),
    ],
)
def test_auto_is_the_network_that_works_here(monkeypatch, found, name):
    kinds(monkeypatch, **found)
    assert execute.network("auto").name == name


@pytest.mark.parametrize(
    ("device", "driver", "wanted"),
    [("auto", False, False), ("auto", True, True), ("cuda", False, True), ("cpu", True, False)],
)
def test_what_gpus_want_is_set_where_they_may_run(monkeypatch, device, driver, wanted):
    environment: dict[str, str] = {}
    monkeypatch.setattr(execute.os, "environ", environment)
    monkeypatch.setattr(adapters, "has_driver", lambda: driver)
    kinds(monkeypatch, slingshot="here")
    settings = execute.with_network(planned("auto", device))
    assert ("NVSHMEM_REMOTE_TRANSPORT" in environment) == wanted
    assert settings.applied is not None
    assert settings.applied.name == "slingshot"


def test_a_run_has_in_its_record_what_was_set_by_whom(run_command: Run, tmp_path: Path):
    path = tmp_path / "run.json"
    words = ("sweep", "--ranks", 2, "--network", "tcp", *QUICK, "--json", path)
    done = run_command(*words, environment={"UCX_TLS": "tcp,self,sm"})
    assert (done.code, messages(done.stderr)) == (0, [])
    assert "# settings of the network: tcp\n" in done.stdout
    record = json.loads(path.read_text())
    facts = record["environment"]
    assert record["settings"]["network"] == facts["network"] == "tcp"
    assert facts["network_variables"]["FI_PROVIDER"] == {"value": "tcp", "set_by": "network tcp"}
    assert facts["network_variables"]["UCX_TLS"] == {"value": "tcp,self,sm", "set_by": "user"}
    assert facts["network_left_out"]["UCX_TLS"] == "set by the user"


def test_a_run_without_the_option_says_nothing(run_command: Run, tmp_path: Path):
    path = tmp_path / "run.json"
    done = run_command("sweep", *QUICK, "--json", path)
    assert done.code == 0
    record = json.loads(path.read_text())
    assert record["settings"]["network"] is None
    assert [key for key in record["environment"] if key.startswith("network")] == []


def test_mpi_sees_what_was_set(run_command: Run, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(SHOWN)
    done = run_command("sweep", *QUICK, "--network", path)
    assert done.code == 0
    if "Open MPI" not in done.stdout:
        pytest.skip("only Open MPI shows what it was told")
    assert "mpi_show_mca_params=enviro (environment)" in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["sweep", "check", "tune --output t.json"])
def test_every_command_that_runs_has_it(run_command: Run, tmp_path: Path, command: str):
    path = tmp_path / "mine.toml"
    path.write_text("[[setting]]\nvariable = 'LD_PRELOAD'\nvalue = 'x'\n")
    done = run_command(*command.split(), "--network", path)
    assert done.code == 2
    assert "--network" in one_error(done.stderr)
    assert "variable is 'LD_PRELOAD'; allowed: a variable" in one_error(done.stderr)


def test_env_says_what_a_network_needs_and_the_fix(run_command: Run):
    done = run_command("env", "--network", "slingshot")
    lines = done.stdout.splitlines()
    assert "# what --network slingshot needs" in lines
    if not Path("/sys/class/cxi").exists():
        assert done.code == 5
        assert "there is no Slingshot adapter here" in one_error(done.stderr)
        assert "--device=/dev/cxi0" in one_error(done.stderr)


def test_env_refuses_a_network_that_is_none(run_command: Run):
    done = run_command("env", "--network", "token-ring")
    assert done.code == 2
    assert "--network 'token-ring': allowed: auto" in one_error(done.stderr)
