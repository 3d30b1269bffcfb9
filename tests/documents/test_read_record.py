"""A file becomes a record that its samples do not contradict, or one message that names it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nvrar_bench.documents.run_file import read_record
from nvrar_bench.errors import UsageError

UNKNOWN = {"samples": 1, "flag_us": None, "copy_us": None, "work_us": None}
GOLDEN = Path(__file__).parent / "golden" / "record.json"


def changed(tmp_path: Path, **changes: Any) -> Path:
    value = json.loads(GOLDEN.read_text())
    value["results"][1].update(changes)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(value))
    return path


def test_a_record_is_read() -> None:
    assert read_record(GOLDEN).to_json() == json.loads(GOLDEN.read_text())


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOLDEN.read_bytes())))
    assert read_record(Path("-")) == read_record(GOLDEN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 4}, "samples is 4; there are 3 in samples_us"),
        ({"launch_samples": [3, 1]}, "launch_samples add up to 4; there are 3 samples"),
        ({"launch_samples": []}, "launch_samples add up to 0; there are 3 samples"),
        ({"late": [3]}, "late holds 3; allowed: 0 to 2"),
        (
            {"launch_samples": [1, 2]},
            "stretches end at samples [3]; launches at [1, 3]",
        ),
        (
            {"stretches": [UNKNOWN, UNKNOWN]},
            "stretches end at samples [1, 2]; launches at [3]",
        ),
        (
            {"stretches": [UNKNOWN] * 4},
            "stretches end at samples [1, 2, 3, 4]; launches at [3]",
        ),
        ({"samples_us": [1, 2, 1e13]}, "samples_us holds 1e+13; allowed: at most 1e+12"),
    ],
)
def test_samples_that_contradict_themselves(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = changed(tmp_path, **changes)
    with pytest.raises(UsageError) as refused:
        read_record(path)
    assert str(refused.value) == f"{path}: results[1].{said}"


def test_no_samples_contradict_nothing(tmp_path: Path) -> None:
    path = changed(tmp_path, samples=0, samples_us=[], launch_samples=[], late=[], stretches=[])
    assert read_record(path).results[1].samples == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [("nosuch.json", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be read.*{said}.*allowed: a run record"):
        read_record(Path(name))


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match=f"^{path}: this is not a nvrar-bench.run record"):
        read_record(path)
