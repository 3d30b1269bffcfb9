"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LINE_EVERY_S = 2.0


class NoProgress:
    """Says nothing: the ranks that do not speak for all."""

    def begin(self, what: str, cases: int = 1) -> None:
        """So many cases begin."""

    def note(self, activity: str) -> None:
        """Something else goes on."""


class CaseProgress:
    """Counts the cases of a run."""

    def __init__(self, total: int, console: Console) -> None:
        self._total, self._console = total, console
        self._begun = 0
        self._started = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> CaseProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, what: str, cases: int = 1) -> None:
        """So many cases begin."""
        if self._bar:
            self._bar.update(self._task, completed=self._begun, description=what)
        else:
            self._maybe_line(what)
        self._begun += cases

    def note(self, activity: str) -> None:
        """Show what goes on apart from cases; only a bar has the room."""
        if self._bar:
            self._bar.update(self._task, description=activity)

    def _maybe_line(self, description: str) -> None:
        now = time.monotonic()
        if now - self._last_line < _LINE_EVERY_S:
            return
        self._last_line = now
        left = (now - self._started) / max(self._begun, 1) * (self._total - self._begun)
        self._console.print(
            f"[{self._begun + 1}/{self._total}] {description}, about {left:.0f} s left",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
