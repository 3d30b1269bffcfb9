"""Hosts made of namespaces: they are apart, connected, can fail, and leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hosts
import pytest

SCRIPT = hosts.__file__


def do(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=60
    )


def on(host: str, script: str) -> str:
    done = do("run", host, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def two() -> Iterator[None]:
    done = do("up", "2")
    assert done.returncode == 0, done.stderr
    yield
    do("down")


LISTEN = "import socket; s = socket.create_server(('', 7000)); s.accept()[0].sendall(b'seen')"
CALL = """
import socket, time
for _ in range(100):
    try:
        print(socket.create_connection(('host1', 7000), timeout=5).recv(4).decode())
        break
    except ConnectionRefusedError:
        time.sleep(0.05)
"""


def test_hosts_are_apart_and_reach_each_other(two):
    assert (on("host1", "hostname"), on("host2", "hostname")) == ("host1", "host2")
    on("host1", "echo here >/dev/shm/mark")
    assert on("host2", "ls /dev/shm") == ""
    assert int(on("host2", "ps -e | wc -l")) < 8
    before = hosts.sent_bytes()["host1"]
    command = [*hosts.entering(hosts.host("host1")), sys.executable, "-c", LISTEN]
    with subprocess.Popen(command) as listening:
        assert on("host2", f'{sys.executable} -c "{CALL}"') == "seen"
        assert listening.wait(timeout=30) == 0
    assert hosts.sent_bytes()["host1"] > before


def test_a_second_set_is_refused(two):
    done = do("up", "1")
    assert (done.returncode, "down" in done.stderr) == (1, True)


def test_a_host_that_is_killed_takes_its_processes_along(two):
    command = [*hosts.entering(hosts.host("host2")), "sleep", "600"]
    with subprocess.Popen(command) as sleeping:
        assert do("kill", "host2").returncode == 0
        assert sleeping.wait(timeout=30) != 0


def test_nothing_is_left(two):
    keepers = [one.keeper for one in hosts.hosts()]
    assert do("down").returncode == 0
    assert hosts.hosts() == []
    assert not hosts.STATE.exists()
    links = json.loads(subprocess.check_output(["ip", "-json", "link"], text=True))
    assert [link["ifname"] for link in links if link["ifname"].startswith("nvrar")] == []
    assert [pid for pid in keepers if _is_alive(pid)] == []


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_rate_bounds_what_a_host_sends():
    try:
        assert do("up", "1", "--rate", "100mbit").returncode == 0
        assert "rate 100Mbit" in on("host1", "tc qdisc show dev eth0")
    finally:
        do("down")
