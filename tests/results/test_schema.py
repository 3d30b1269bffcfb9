"""The schema, the dataclasses and the reader's own check are three views of one table."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.results import record as record_module
from nvrar_bench.results.schema import _FIELDS, first_problem, schema

from .samples import begin, full

GOLDEN = Path(__file__).parent / "golden" / "record.json"


def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_the_schema_takes_what_a_record_writes() -> None:
    validator().validate(begin().to_json())
    validator().validate(full().to_json())


@pytest.mark.parametrize("name", list(_FIELDS))
def test_every_object_of_the_schema_is_a_dataclass_with_the_same_fields(name: str) -> None:
    kind = getattr(record_module, name)
    assert [field.name for field in fields(kind)] == list(_FIELDS[name])


def test_the_schema_knows_every_dtype_and_op() -> None:
    result = schema()["properties"]["results"]["items"]["properties"]
    assert result["dtype"]["enum"] == list(DTYPES)
    assert result["op"]["enum"] == list(OPS)


def objects(part: Any, where: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(where, part)] if isinstance(part, dict) and "properties" in part else []
    for key, value in part.items() if isinstance(part, dict) else ():
        found += objects(value, f"{where}/{key}")
    return found


def test_nothing_may_be_added_or_left_out_except_in_the_open_parts() -> None:
    found = objects(schema())
    assert len(found) == len(_FIELDS)
    for where, part in found:
        assert part["additionalProperties"] is False, where
        assert part["required"] == list(part["properties"]), where
    top = schema()["properties"]
    assert "properties" not in top["settings"]
    assert "properties" not in top["environment"]


def test_changing_the_returned_schema_changes_nothing_here() -> None:
    schema()["properties"].clear()
    assert schema()["properties"]


def set_at(value: Any, path: list[Any], new: Any) -> None:
    for key in path[:-1]:
        value = value[key]
    if new is KeyError:
        del value[path[-1]]
    else:
        value[path[-1]] = new


def paths(value: Any) -> list[list[Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    found: list[list[Any]] = []
    for key in keys if isinstance(value, dict | list) else ():
        found += [[key], *([key, *rest] for rest in paths_below(value[key]))]
    return found


def paths_below(value: Any) -> list[list[Any]]:
    return paths(value) if isinstance(value, dict | list) else []


ODD_VALUES = [None, True, 0, -1, 0.5, 1.0, 2**63, "", "exact", "nan", [], [1], ["a"], {}, {"a": 1}]


@given(st.data(), st.sampled_from([*ODD_VALUES, KeyError]))
def test_the_readers_check_agrees_with_jsonschema(data: st.DataObject, new: Any) -> None:
    value = json.loads(GOLDEN.read_text())
    set_at(value, data.draw(st.sampled_from(paths(value))), new)
    assert (first_problem(value) is None) == validator().is_valid(value)


@pytest.mark.parametrize("value", [*ODD_VALUES, {"format": "nvrar-bench.run"}])
def test_no_other_value_is_a_record(value: Any) -> None:
    assert first_problem(value) is not None
    assert not validator().is_valid(value)
