"""What the machine says of its CPU and its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.devices import machine as module
from nvrar_bench.devices.machine import available_memory, cpu_model, usable_cores


def test_the_cpu_has_a_name():
    assert cpu_model().strip() != ""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Files in the place of /proc and /sys, by their names."""

    def place(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / name).write_text(text)

    class Placed(type(tmp_path)):
        """A path that leads to the file of the same name in the test's folder."""

        def read_text(self, *arguments: str, **options: str) -> str:
            return Path(tmp_path / self.name).read_text(*arguments, **options)

    monkeypatch.setattr(module, "Path", Placed)
    return place


MEMINFO = "MemTotal:  900 kB\nMemFree:  10 kB\nMemAvailable:  500 kB\n"


@pytest.mark.parametrize(("left", "available"), [(None, 512_000), (200, 200), (900_000, 512_000)])
def test_available_memory_is_the_machines_or_what_the_cgroup_leaves(
    machine, monkeypatch, left, available
):
    machine(meminfo=MEMINFO)
    monkeypatch.setattr(module, "memory_left", lambda: left)
    assert available_memory() == available


@pytest.mark.parametrize(
    ("threads", "quota", "cores"),
    [
        (["0", "1", "2", "3"], None, 4),
        (["0,2", "1,3", "0,2", "1,3"], None, 2),
        (["0", "1", "2", "3"], 2.9, 2),
        (["0", "1", "2", "3"], 8.0, 4),
        (["0", "1"], 0.3, 1),
        ([None, None, None], None, 3),  # a kernel that does not say
    ],
)
def test_usable_cores(tmp_path, monkeypatch, threads, quota, cores):
    for cpu, text in enumerate(threads):
        if text is not None:
            folder = tmp_path / f"cpu{cpu}" / "topology"
            folder.mkdir(parents=True)
            (folder / "thread_siblings_list").write_text(f"{text}\n")
    monkeypatch.setattr(module, "CPUS", tmp_path)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(len(threads))))
    monkeypatch.setattr(module, "cpu_quota", lambda: quota)
    assert usable_cores() == cores


def test_a_cpu_without_a_model_name_is_called_by_its_architecture(machine):
    machine(cpuinfo="processor : 0\nBogoMIPS : 50\n")
    assert cpu_model() == module.platform.machine()
    machine(cpuinfo="processor : 0\nmodel name\t: Some CPU: 3 GHz\nmodel name : other\n")
    assert cpu_model() == "Some CPU: 3 GHz"
