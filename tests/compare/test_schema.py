"""The schema of a comparison, the dataclasses and jsonschema agree."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nvrar_bench.compare import document, schema
from nvrar_bench.statistics.conditions import Difference
from nvrar_bench.statistics.keys import Key

GOLDEN = json.loads((Path(__file__).parent / "golden" / "comparison.json").read_text())
SCHEMA = schema.schema()
ODD = [None, True, -1, 0.5, 2, "", "slower", [], [1], {}, {"a": 1}]


def names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(GOLDEN)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (schema._DOCUMENT, ["format", "format_version", *names(document.Document)]),
        (schema._COMPARISON, [*names(document.Comparison), "summary"]),
        (schema._RUN_FACTS, names(document.RunFacts)),
        (schema._MEASURED, names(document.Measured)),
        (schema._POINT, [*names(Key), *names(document.Point)[1:]]),
        (schema._DIFFERENCE, names(Difference)),
    ],
)
def test_every_object_has_the_fields_of_its_dataclass(
    table: dict[str, Any], expected: list[str]
) -> None:
    assert sorted(table) == sorted(expected)


def paths(value: Any) -> list[list[Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    found: list[list[Any]] = []
    for key in keys if isinstance(value, dict | list) else ():
        below = paths(value[key]) if isinstance(value[key], dict | list) else []
        found += [[key], *([key, *rest] for rest in below)]
    return found


@given(st.sampled_from(paths(GOLDEN)), st.sampled_from([*ODD, KeyError]))
def test_the_check_agrees_with_jsonschema(path: list[Any], new: Any) -> None:
    value = json.loads(json.dumps(GOLDEN))
    place = value
    for key in path[:-1]:
        place = place[key]
    if new is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    valid = Draft202012Validator(SCHEMA).is_valid(value)
    assert (schema.first_problem(value) is None) == valid


def test_changing_the_returned_schema_changes_nothing_here() -> None:
    schema.schema()["properties"].clear()
    assert schema.schema()["properties"]
