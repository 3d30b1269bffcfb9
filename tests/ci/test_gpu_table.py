"""The table that ships, from races that are made up."""

from __future__ import annotations

import json

import gpu_table
import pytest
from msgspec.structs import replace
from test_gpu_summary import TABLE, folder, record, result  # noqa: F401 - a fixture

from nvrar_bench.backends.nvrar import chooser
from nvrar_bench.backends.nvrar.limits import gpu_limits
from nvrar_bench.documents.result import Check, FirstWrong
from nvrar_bench.documents.tuning import MadeFor

K128 = 128 << 10
WRONG = Check("failed", "exact", 9, 1, FirstWrong(0, 0, 1.0, 2.0), timed=True)
TWO = {**TABLE["made_for"], "nodes": 1, "ranks_per_node": 2, "ranks_per_device": 2}


def a_race(status: str = "complete", check: Check | None = None, **changes):
    """A record whose table has these keys instead."""
    one = result("nvrar", "signal", K128, 5.0, **({"check": check} if check else {}))
    race = record(one, graph=10)
    return replace(
        race, run=replace(race.run, status=status),
        environment={**race.environment, "gpu_sms": 132, "tuning": {**TABLE, **changes}},
    )  # fmt: skip


def made(monkeypatch, run, output) -> int:
    monkeypatch.setattr("sys.argv", ["gpu_table.py", str(run), "-o", str(output)])
    return gpu_table.main()


def test_what_races_chose_is_what_auto_follows(folder, monkeypatch, tmp_path, capsys):  # noqa: F811
    beside = record(result("nccl", "window", K128, 8.0), graph=10)
    run = folder(lab_8x2=a_race(), lab_2x1=a_race(made_for=TWO), lab_nccl_2=beside)
    assert made(monkeypatch, run, tmp_path / "sm_90.table") == 0
    assert capsys.readouterr().out.count("1 sizes, made on A GPU") == 2
    monkeypatch.setattr(chooser, "FOLDER", tmp_path)
    for made_for in (TABLE["made_for"], TWO):
        here = MadeFor(**made_for)
        limits = gpu_limits(16, here.fabric, here.arch)
        (row,) = chooser.shipped_table(here, limits).rows
        assert (row.size_bytes, row.shape.blocks, row.shape.threads) == (K128, 16, 256)
    written = (tmp_path / "sm_90.table").read_text()
    assert "box" not in written, "names of machines do not ship"
    assert "ci/gpu_table.py" in json.loads(written)["made_by"]


@pytest.mark.parametrize(
    ("races", "message"),
    [
        ({}, "no race is there"),
        ({"lab_8x2": a_race(status="interrupted")}, "lab-8x2: the race did not end"),
        ({"lab_8x2": a_race(check=WRONG)}, "lab-8x2: a result is wrong"),
        ({"lab_8x4": a_race(made_for={**TWO, "nodes": 4})}, "lab-8x4: 4 nodes; allowed: up to 2"),
        ({"lab_1": a_race(), "lab_2": a_race(made_for={**TWO, "arch": "sm_80"})}, "races on sm_80"),
        ({"lab_1": a_race(), "lab_2": a_race()}, "two races for MadeFor"),
    ],
)
def test_what_may_not_ship(folder, monkeypatch, tmp_path, capsys, races, message):  # noqa: F811
    output = tmp_path / "sm_90.table"
    assert made(monkeypatch, folder(**races), output) == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
