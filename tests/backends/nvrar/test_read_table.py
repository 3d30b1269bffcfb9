"""Reading a tuning table: what it comes to, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from documents.test_tuning_document import TABLE
from msgspec.structs import replace

from nvrar_bench.backends.nvrar.tuning import TunedLaunch, read_table, table_for
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.tuning import encode
from nvrar_bench.errors import UsageError
from nvrar_bench.variables import TUNING


def test_a_table_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(encode(TABLE))
    table = read_table(path, "--tuning t.json")
    assert (table.source, table.path) == ("--tuning t.json", str(path))
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.made_for == TABLE.made_for
    assert table.made_on == TABLE.made_on
    shape = Shape("packet", 8, 128, 4096, 4, "halving")
    assert table.rows == tuple(
        TunedLaunch("bfloat16", "sum", "symmetric", size, shape) for size in (131072, 262144)
    )


def changed(**keys: Any) -> str:
    return json.dumps({**TABLE.to_json(), **keys})


def of_choice(**keys: Any) -> str:
    return changed(choices=[{**TABLE.to_json()["choices"][0], **keys}])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not the JSON of a tuning table: Expecting value"),
        ("{", "is not the JSON of a tuning table: "),
        ("\xff", "is not the JSON of a tuning table: 'utf-8' codec can't decode"),
        ("[" * 100_000, "is not the JSON of a tuning table: "),
        (changed(version=float("nan")), "is not the JSON of a tuning table: NaN is no JSON number"),
        ("[]", "is not a nvrar-bench.tuning table: the record is []; allowed: object"),
        (
            changed(format="nvrar-bench.run"),
            "table: format is 'nvrar-bench.run'; allowed: nvrar-bench.tuning",
        ),
        (
            changed(format_version="2.0", new=1),
            "is a table of format_version '2.0', written by nvrar-bench 0.1.0; allowed: 1.0 and ",
        ),
        (changed(colour="red"), "'colour' is unknown; allowed: format, "),
        (of_choice(blocks=0), "choices[0].blocks is 0; allowed: 1 and more"),
        (of_choice(protocol="auto"), "choices[0].protocol is 'auto'; allowed: signal, packet"),
        (of_choice(radix=65), "choices[0].radix is 65; allowed: 64 and less"),
        (of_choice(measured=None), "choices[0].measured is None; allowed: object"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content.encode("latin-1" if content == "\xff" else "utf-8"))
    with pytest.raises(UsageError) as caught:
        read_table(path, "--tuning t.json")
    assert str(caught.value).startswith("--tuning t.json ")
    assert message in str(caught.value)


def test_two_choices_for_one_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    first = TABLE.choices[0]
    path.write_text(encode(replace(TABLE, choices=(first, replace(first, blocks=1)))))
    with pytest.raises(UsageError, match="two choices for bfloat16 sum symmetric 131072 bytes"):
        read_table(path, "t")


@pytest.mark.parametrize("spoil", [Path.mkdir, lambda path: None])
def test_what_cannot_be_read_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "t.json"
    spoil(path)
    with pytest.raises(UsageError, match=r"^t cannot be read: .*; allowed: a table, as written"):
        read_table(path, "t")


def test_the_option_comes_before_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(encode(TABLE))
    named = {TUNING: str(path)}
    by_option, by_variable = (
        table_for(path, "--tuning", {TUNING: "x"}),
        table_for(None, "", named),
    )
    assert by_option is not None
    assert by_option.source == f"--tuning {path}"
    assert by_variable is not None
    assert by_variable.source == f"{TUNING}={path}"
    assert table_for(None, "--tuning", {}) is None
    assert table_for(None, "--tuning", {TUNING: ""}) is None
