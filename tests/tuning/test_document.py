"""A tuning table, its schema and jsonschema agree, and what is written reads back as itself."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nvrar_bench.backends.nvrar.tuning import MadeFor
from nvrar_bench.tuning import document, schema
from nvrar_bench.tuning.document import Choice, Document, MadeOn, Measured, encode

SCHEMA = schema.schema()
CHOICE = Choice(
    "bfloat16", "sum", "symmetric", 131072, "packet", 8, 128, 4096, 4,
    is_auto=False, measured=Measured(12.5, 12.25, 13.0), auto=Measured(20.0, None, None),
    tried=40, level=3, refused=2, ended_by="alike",
)  # fmt: skip
TABLE = Document(
    "0.1.0", "2026-11-25T12:00:00+00:00", "complete",
    MadeFor("cuda", "sm_90", "nvshmem", 4, 4, False, 1),
    MadeOn("NVIDIA H100", ("a", "b"), "ab" * 32, {"mpi_library": "Open MPI v5.0.11"}),
    (CHOICE, replace(CHOICE, size_bytes=262144, is_auto=True, auto=None)),
)  # fmt: skip
ODD = [None, True, -1, 0, 0.5, 2, 65, "", "packet", [], [1], {}, {"a": 1}, 2**63]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(TABLE.to_json())


@pytest.mark.parametrize(
    ("table", "kind", "more"),
    [
        (schema._DOCUMENT, Document, ["format", "format_version"]),
        (schema._MADE_FOR, MadeFor, []),
        (schema._MADE_ON, MadeOn, []),
        (schema._CHOICE, Choice, []),
        (schema._MEASURED, Measured, []),
    ],
)
def test_every_object_has_the_fields_of_its_dataclass(
    table: dict[str, Any], kind: Any, more: list[str]
) -> None:
    assert sorted(table) == sorted([*more, *(field.name for field in fields(kind))])


def test_what_is_written_reads_back_as_itself() -> None:
    assert Document.from_json(json.loads(encode(TABLE))) == TABLE


def test_the_text_has_one_line_per_choice() -> None:
    lines = encode(TABLE).splitlines()
    assert lines[1:3] == [
        ' "format": "nvrar-bench.tuning",',
        f' "format_version": "{document.FORMAT_VERSION}",',
    ]
    assert [line for line in lines if '"size_bytes": 131072' in line] == [
        "  " + json.dumps(TABLE.to_json()["choices"][0]) + ","
    ]


def paths(value: Any) -> list[list[Any]]:
    keys = value if isinstance(value, dict) else range(len(value))
    found: list[list[Any]] = []
    for key in keys if isinstance(value, dict | list) else ():
        below = paths(value[key]) if isinstance(value[key], dict | list) else []
        found += [[key], *([key, *rest] for rest in below)]
    return found


@given(st.sampled_from(paths(TABLE.to_json())), st.sampled_from([*ODD, KeyError]))
def test_the_check_agrees_with_jsonschema(path: list[Any], new: Any) -> None:
    value: Any = json.loads(encode(TABLE))
    place = value
    for key in path[:-1]:
        place = place[key]
    if new is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = new
    assert (schema.first_problem(value) is None) == Draft202012Validator(SCHEMA).is_valid(value)
