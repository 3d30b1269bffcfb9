"""A command's --help: the options in panels, as settings/option.py names them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

_FEW = 12  # options need no panels
_ARGUMENTS, _OPTIONS = "Arguments", "Options"


class Command(TyperCommand):
    """A command of nvrar-bench."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as Typer has it
        """Arguments as they are named, without the braces of Typer."""
        return ["[OPTIONS]", *(str(each.metavar) for each in self._arguments())]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one list for each panel; a default stands in brackets behind the text."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for each in self._arguments():
            panels.setdefault(_ARGUMENTS, []).append((str(each.metavar), each.help))
        parameters: list[Any] = self.get_params(ctx)
        options = [each for each in parameters if each.param_type_name == "option"]
        for option in options:
            panel = getattr(option, "rich_help_panel", None)
            # Typer's own --help has no panel: it stands where the list ends.
            title = (panel or next(reversed(panels), _OPTIONS)) if len(options) > _FEW else _OPTIONS
            names, text = option.get_help_record(ctx)
            panels.setdefault(title, []).append((names, text.replace("[default: ", "[")))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def _arguments(self) -> list[Any]:
        return [each for each in self.params if each.param_type_name == "argument"]
