"""What carries messages between machines, by what a process has open."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from nvrar_bench.run import crossing


def test_a_process_that_reaches_no_other_machine_names_nothing():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0],
    ):
        assert crossing.crossing() is None


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of open files and one of adapters."""
    monkeypatch.setattr(crossing, "_FILES", tmp_path)
    monkeypatch.setattr(crossing, "_VERBS", tmp_path / "verbs")
    (tmp_path / "verbs" / "uverbs0").mkdir(parents=True)
    (tmp_path / "verbs" / "uverbs0" / "ibdev").write_text("mlx5_0\n")
    return tmp_path


def test_adapters_are_named(opened: Path):
    targets = ("/dev/infiniband/uverbs0", "/dev/cxi0", "/dev/infiniband/uverbs0", "/dev/null")
    for number, target in enumerate(targets):
        os.symlink(target, opened / str(number))
    assert set((crossing.crossing() or "").split(", ")) == {"verbs of mlx5_0", "Slingshot cxi0"}


def test_connections_to_another_machine_are_named_by_their_interface():
    """127.0.0.2 is no address of an interface, so it passes for another machine's."""
    with (
        socket.create_server(("127.0.0.2", 0)) as server,
        socket.create_connection(server.getsockname(), source_address=("127.0.0.1", 0)),
        server.accept()[0],
    ):
        assert crossing.crossing() == "TCP over lo"
