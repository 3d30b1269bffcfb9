"""The limits of control groups, of either version, from the process's own group up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nvrar_bench.devices import machine

V2 = "0::/system.slice/slurm/job_7\n"
V1 = "4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n0::/\n"
JOB_2, JOB_1 = "system.slice/slurm/job_7", "slurm/job_7"

Place = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Write /proc/self/cgroup, and files below /sys/fs/cgroup."""
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "root")

    def write(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        (V2, {}, None),
        (V2, {f"{JOB_2}/cpu.max": "max 100000\n"}, None),
        (V2, {f"{JOB_2}/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {f"{JOB_2}/cpu.max": "max 100000\n", "system.slice/cpu.max": "50000 100000\n"}, 0.5),
        (V2, {f"{JOB_2}/cpu.max": "800000 100000", "system.slice/cpu.max": "200000 100000"}, 2),
        (V2, {"cpu.max": "200000 100000\n"}, 2),  # a container's own group is the root it sees
        ("0::/../other\n", {"cpu.max": "200000 100000\n"}, None),
        (V1, {f"cpu/{JOB_1}/cpu.cfs_quota_us": "-1", f"cpu/{JOB_1}/cpu.cfs_period_us": "9"}, None),
        (V1, {f"cpu/{JOB_1}/cpu.cfs_quota_us": "30", f"cpu/{JOB_1}/cpu.cfs_period_us": "10"}, 3),
        (V1, {"cpu/cpu.cfs_quota_us": "25", "cpu/cpu.cfs_period_us": "10"}, 2.5),
    ],
)
def test_the_tightest_quota_counts(place: Place, own: str, files: dict[str, str], cores):
    place(own, files)
    assert machine.cpu_quota() == cores


def of_2(folder: str, limit: str, used: str) -> dict[str, str]:
    return {f"{folder}/memory.max": limit, f"{folder}/memory.current": used}


def of_1(folder: str, limit: str, used: str) -> dict[str, str]:
    names = "memory.limit_in_bytes", "memory.usage_in_bytes"
    return {f"memory/{folder}/{names[0]}": limit, f"memory/{folder}/{names[1]}": used}


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        (V2, {}, None),
        (V2, of_2(JOB_2, "max\n", "9\n"), None),
        (V2, of_2(JOB_2, "500\n", "100\n"), 400),
        (V2, of_2(JOB_2, "max", "1") | of_2("system.slice/slurm", "300", "100"), 200),
        (V2, of_2(JOB_2, "500", "100") | {f"{JOB_2}/memory.stat": "anon 1\ninactive_file 60"}, 460),
        (V2, of_2(JOB_2, "100", "300"), 0),
        (V2, {f"{JOB_2}/memory.max": "300\n"}, None),
        (V1, of_1(JOB_1, "500\n", "100\n"), 400),
        (V1, of_1("slurm", "500", "100") | of_1(JOB_1, "9223372036854771712", "10"), 400),
    ],
)
def test_the_least_memory_counts(place: Place, own: str, files: dict[str, str], left):
    place(own, files)
    assert machine.memory_left() == left


def test_a_machine_without_control_groups_has_no_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "_OWN_GROUPS", tmp_path / "missing")
    assert (machine.cpu_quota(), machine.memory_left()) == (None, None)
