"""The schema that is printed, the types and the reader's check say the same of every document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from nvrar_bench.backends.nvrar.space import PROTOCOLS
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.documents import JsonObject, checked, schema_of
from nvrar_bench.documents.comparison import VERDICTS, ComparisonDocument, VerdictCounts
from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.inventory import Inventory
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.tuning import TunedProtocol, TuningDocument
from nvrar_bench.plan import AXES, Buffers

from .judge import paths, problem, require_agreement, set_at, validator
from .samples import begin, full
from .test_tuning_document import TABLE

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


WRITTEN: dict[type[JsonObject], Any] = {
    RunRecord: golden("record"),
    ComparisonDocument: golden("comparison"),
    TuningDocument: TABLE.to_json(),
    Inventory: golden("env"),
    DecodeRecord: golden("decode"),
}
ODD_VALUES = [
    None, True, 0, -1, 0.5, 1.0, 2, 65, 2**63, "", "exact", "nan", "slower", "packet", "here",
    [], [1], ["a"], {}, {"a": 1},
]  # fmt: skip
every_document = pytest.mark.parametrize("kind", WRITTEN)


def copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


@every_document
def test_the_schema_is_a_schema_of_what_is_written(kind: type[JsonObject]) -> None:
    Draft202012Validator.check_schema(schema_of(kind))
    validator(kind).validate(WRITTEN[kind])


@every_document
def test_what_is_written_reads_back_as_itself(kind: type[JsonObject]) -> None:
    read = checked(kind, copy(WRITTEN[kind]), "this")
    assert json.dumps(read.to_json()) == json.dumps(WRITTEN[kind])  # keys in the same order


def test_the_schema_takes_what_a_record_writes() -> None:
    validator(RunRecord).validate(begin().to_json())
    validator(RunRecord).validate(full().to_json())


@every_document
def test_nothing_may_be_added_or_left_out(kind: type[JsonObject]) -> None:
    schema = schema_of(kind)
    for part in (schema, *schema["$defs"].values()):
        assert part["additionalProperties"] is False, part
        assert part["required"] == list(part["properties"]), part
        assert part["description"], part


def test_the_open_parts_are_open() -> None:
    for kind, key in (
        (RunRecord, "settings"),
        (RunRecord, "environment"),
        (Inventory, "settings"),
    ):
        assert "properties" not in schema_of(kind)["properties"][key]


def test_names_are_those_of_the_tables_that_have_them() -> None:
    for schema in (
        schema_of(RunRecord)["$defs"]["Result"],
        schema_of(TuningDocument)["$defs"]["Choice"],
    ):
        assert schema["properties"]["dtype"]["enum"] == sorted(DTYPES)
        assert schema["properties"]["op"]["enum"] == sorted(OPS)
    assert get_args(Buffers) == AXES["buffers"].allowed
    assert get_args(TunedProtocol) == tuple(PROTOCOLS)
    assert VerdictCounts.__struct_fields__ == ("points", *VERDICTS, "missing")


@every_document
def test_changing_the_returned_schema_changes_nothing_here(kind: type[JsonObject]) -> None:
    schema_of(kind)["properties"].clear()
    assert schema_of(kind)["properties"]


@every_document
@given(data=st.data(), new=st.sampled_from([*ODD_VALUES, KeyError]))
def test_the_readers_check_agrees_with_jsonschema(
    kind: type[JsonObject], data: st.DataObject, new: Any
) -> None:
    value = copy(WRITTEN[kind])
    set_at(value, data.draw(st.sampled_from(paths(value))), new)
    require_agreement(kind, value)


@every_document
@pytest.mark.parametrize("value", [*ODD_VALUES, {"format": "nvrar-bench.run"}])
def test_no_other_value_is_a_document(kind: type[JsonObject], value: Any) -> None:
    assert problem(kind, copy(value)) is not None
    assert not validator(kind).is_valid(value)


def test_whole_numbers_are_integers_wherever_they_stand() -> None:
    value = copy(WRITTEN[RunRecord])
    for result in value["results"]:
        result["count"] = float(result["count"])
        result["stretches"] = [
            {"samples": 2.0, "flag_us": 1, "copy_us": 2.0, "work_us": None} for _ in range(3)
        ]
    record = checked(RunRecord, copy(value), "this")
    kinds = {type(one.samples) for result in record.results for one in result.stretches}
    assert kinds == {int} == {type(result.count) for result in record.results}
    value["results"][1]["stretches"][2]["samples"] = 2.5
    assert problem(RunRecord, copy(value)) == (
        "results[1].stretches[2].samples is 2.5; allowed: integer"
    )


@pytest.mark.parametrize("key", ["x - at `$.run", "x` - at `$.run`", "a\nb", "`"])
def test_an_unknown_key_is_named_whatever_it_is(key: str) -> None:
    value = {**copy(WRITTEN[RunRecord]), key: 1}
    assert problem(RunRecord, value) == (
        f"{key!r} is unknown; allowed: {', '.join(RunRecord.__struct_fields__)}"
    )
