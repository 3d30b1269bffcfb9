"""The inventory as a document: its JSON, and what follows from a device's reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

from documents.inventories import machine
from nvrar_bench.documents import encode
from nvrar_bench.documents.inventory import Ability, settled

GOLDEN = Path(__file__).parent / "golden" / "env.json"


def test_the_document_is_that_of_the_golden_file():
    text = encode(machine())
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_no_backend_runs_on_a_device_that_cannot():
    cuda = [one for one in machine().abilities if one.device == "cuda"]
    assert {one.can_run for one in cuda} == {False}
    assert len({(one.reason, one.fix) for one in cuda}) == 1
    kept = (Ability.of("cpu", None, None, None), Ability.of("cpu", "nccl", "no", "do"))
    assert settled(kept) == kept


def test_a_problem_is_one_text():
    assert Ability.of("cpu", None, "a", "b").problem == "a: b"
    assert Ability.of("cpu", None, "a", None).problem == "a"
    assert Ability.of("cpu", None, None, None).problem is None


def test_rows_are_counted():
    assert machine().summary.to_json() == {"here": 4, "missing": 1, "wrong": 3}
    assert json.loads(encode(machine()))["summary"]["wrong"] == 3
