"""The inventory on the screen, against golden files.

After a wanted change, `UPDATE_GOLDEN=1 pytest tests/report` writes the files anew; read the diff.
"""

from __future__ import annotations

import os
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from documents.inventories import machine
from msgspec.structs import replace
from rich.console import Console

from nvrar_bench.report import inventory

GOLDEN = Path(__file__).parent / "golden"


def written(width: int = 400, **how: object) -> str:
    file = StringIO()
    inventory.write(machine(), Console(file=file, width=width, _environ={}, **how))
    return file.getvalue()


def matches(name: str, text: str) -> bool:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    return text == path.read_text(encoding="utf-8")


def test_piped_output():
    assert matches("env.piped.txt", written())


@pytest.mark.parametrize(("name", "width"), [("terminal", 120), ("narrow", 60)])
def test_terminal_output(name, width):
    colours = {"force_terminal": True, "color_system": "standard", "legacy_windows": False}
    assert matches(f"env.{name}.txt", written(width, **colours))


def test_data_lines_are_all_that_is_no_comment():
    rows = [line.split()[0] for line in written().splitlines() if not line.startswith("#")]
    words = ["here"] * 2 + ["wrong", "here", "wrong", "here", "missing", "wrong"]
    assert rows == [*words, "set", "set", "can", "cannot", "can", "cannot"]


def test_nothing_that_was_found_moves_the_cursor():
    assert "\x1b" not in written()
    assert "port 1 ?[2J" in written()


def test_a_machine_without_settings_says_so():
    file = StringIO()
    console = Console(file=file, width=400, _environ={})
    inventory.write(replace(machine(), settings={}), console)
    assert "# no environment variable that changes results is set\n" in file.getvalue()


def test_what_the_output_cannot_encode():
    file = TextIOWrapper(BytesIO(), encoding="ascii")
    shown = replace(machine(), host="nœud")
    inventory.write(shown, Console(file=file, width=400, _environ={}))
    file.flush()
    assert b"on n?ud, " in file.buffer.getvalue()
