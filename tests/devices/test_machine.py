"""What the machine says of its CPU and its memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.devices import machine as module
from nvrar_bench.devices.machine import available_memory, cpu_model


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


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 512_000),
        ({"memory.max": "max\n", "memory.current": "1\n"}, 512_000),
        ({"memory.max": "300000\n", "memory.current": "100000\n"}, 200_000),
        ({"memory.max": "900000\n", "memory.current": "100000\n"}, 512_000),
        ({"memory.max": "300000\n"}, 512_000),
    ],
)
def test_available_memory_is_the_machines_or_what_the_cgroup_leaves(machine, files, available):
    machine(meminfo=MEMINFO, **files)
    assert available_memory() == available


def test_a_cpu_without_a_model_name_is_called_by_its_architecture(machine):
    machine(cpuinfo="processor : 0\nBogoMIPS : 50\n")
    assert cpu_model() == module.platform.machine()
    machine(cpuinfo="processor : 0\nmodel name\t: Some CPU: 3 GHz\nmodel name : other\n")
    assert cpu_model() == "Some CPU: 3 GHz"
