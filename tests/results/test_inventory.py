"""The inventory as a document: its JSON, its schema, and what follows from a device's reason."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nvrar_bench.results import inventory, inventory_schema
from nvrar_bench.results.inventory import Ability, encode, settled
from results.inventories import machine

GOLDEN = Path(__file__).parent / "golden" / "env.json"
SCHEMA = inventory_schema.schema()
ODD = [None, True, -1, 0.5, 2, "", "here", [], [1], {}, {"a": "1"}]


def names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def test_the_document_is_that_of_the_golden_file():
    text = encode(machine())
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_the_schema_is_a_schema_of_it():
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(machine().to_json())
    assert inventory_schema.first_problem(machine().to_json()) is None


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (inventory_schema._ROW, names(inventory.Row)),
        (inventory_schema._ABILITY, [*names(Ability), "can_run"]),
        (
            inventory_schema._DOCUMENT,
            ["format", "format_version", *names(inventory.Inventory), "summary"],
        ),
    ],
)
def test_every_object_has_the_fields_of_its_dataclass(table, expected):
    assert sorted(table) == sorted(expected)


def paths(value: Any) -> list[list[Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    found: list[list[Any]] = []
    for key in keys if isinstance(value, dict | list) else ():
        below = paths(value[key]) if isinstance(value[key], dict | list) else []
        found += [[key], *([key, *rest] for rest in below)]
    return found


@given(st.sampled_from(paths(machine().to_json())), st.sampled_from([*ODD, KeyError]))
def test_the_check_agrees_with_jsonschema(path: list[Any], new: Any):
    value = machine().to_json()
    place = value
    for key in path[:-1]:
        place = place[key]
    if new is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    valid = Draft202012Validator(SCHEMA).is_valid(value)
    assert (inventory_schema.first_problem(value) is None) == valid


def test_no_backend_runs_on_a_device_that_cannot():
    cuda = [one for one in machine().abilities if one.device == "cuda"]
    assert {one.can_run for one in cuda} == {False}
    assert len({(one.reason, one.fix) for one in cuda}) == 1
    kept = (Ability("cpu", None, None, None), Ability("cpu", "nccl", "no", "do"))
    assert settled(kept) == kept


def test_a_problem_is_one_text():
    assert Ability("cpu", None, "a", "b").problem == "a: b"
    assert Ability("cpu", None, "a", None).problem == "a"
    assert Ability("cpu", None, None, None).problem is None


def test_rows_are_counted():
    assert machine().summary == {"here": 4, "missing": 1, "wrong": 3}
    assert json.loads(encode(machine()))["summary"]["wrong"] == 3
