"""Options of a dataclass as parameters of a command."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

from nvrar_bench.settings.option import REQUIRED, expanded, flag, option


@dataclass(frozen=True, kw_only=True)
class First:
    """A group."""

    count: int = option("-n, --count N", "How many.", default=3)


@dataclass(frozen=True, kw_only=True)
class Second:
    """A group."""

    loud: bool = flag("--loud", "Louder.")


@dataclass(frozen=True, kw_only=True)
class Both(First, Second):
    """Options of a command."""

    name: str = option("--name WHO", "Whose.", default=REQUIRED)


@pytest.fixture
def taken() -> list[Both]:
    return []


@pytest.fixture
def app(taken: list[Both]) -> typer.Typer:
    def greet(options: Both) -> None:
        """Greet."""
        taken.append(options)

    made = typer.Typer()
    made.command()(expanded(greet))
    return made


def test_the_command_gets_what_was_typed_and_the_defaults(app, taken):
    assert CliRunner().invoke(app, ["--name", "a", "-n", "5"]).exit_code == 0
    assert CliRunner().invoke(app, ["--loud", "--name=b"]).exit_code == 0
    assert taken == [Both(name="a", count=5), Both(name="b", loud=True)]


def test_a_field_without_a_default_must_be_given(app, taken):
    assert CliRunner().invoke(app, ["--loud"]).exit_code == 2
    assert taken == []


def test_options_come_in_the_order_of_the_groups_and_the_command_keeps_its_text(app):
    command = typer.main.get_command(app)
    assert [each.name for each in command.params][:3] == ["name", "count", "loud"]
    assert (command.name, command.help) == ("greet", "Greet.")


def test_a_default_is_shown(app):
    assert "3" in CliRunner().invoke(app, ["--help"]).output
