"""Commands on stored runs, in this process: they start no rank."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from output import ERROR

from nvrar_bench import __main__ as command

RECORD = Path(__file__).parents[1] / "documents" / "golden" / "record.json"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    error: str

    def message(self) -> str:
        """The one message on stderr."""
        assert self.error.startswith(ERROR), self.error
        assert self.error.count("\n") == 1, self.error
        return self.error.removeprefix(ERROR).rstrip("\n")


class Stored:
    """Runs the command line in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["nvrar-bench", *map(str, words)])
        code = command._run()
        out, error = self._capsys.readouterr()
        return Ended(code, out, error)
