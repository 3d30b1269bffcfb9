"""What is missing or wrong and what fixes it: one text for people, two parts for programs."""

from __future__ import annotations

from typing import Any


class Problem(str):
    """A message that is `what`, a separator and `fix`, such as a command to type."""

    what: str
    fix: str

    def __new__(cls, what: str, fix: str, between: str = ": ") -> Problem:
        """Join the parts; they stay at hand."""
        problem = super().__new__(cls, f"{what}{between}{fix}")
        problem.what, problem.fix = what, fix
        return problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between ranks; the separator stays what it was."""
        between = self[len(self.what) : len(self) - len(self.fix)]
        return Problem, (self.what, self.fix, between)


def problem_of(error: Exception) -> str:
    """The problem that an error was raised with, or else its message."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Problem) else str(error)
