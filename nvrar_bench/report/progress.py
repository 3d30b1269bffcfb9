"""Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

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

    def __exit__(self, *_: object) -> None:
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

    def announce(self, activity: str) -> None:
        """Say what begins and may take long: in the bar, or in a line of its own."""
        self.note(activity)
        if not self._bar:
            self._line(activity)

    def _maybe_line(self, description: str) -> None:
        now = time.monotonic()
        if not self._begun:
            self._started = now  # what came before says nothing about cases
        if now - self._last_line < _LINE_EVERY_S:
            return
        self._last_line = now
        left = (now - self._started) / max(self._begun, 1) * (self._total - self._begun)
        about = f", about {left:.0f} s left" if self._begun else ""
        self._line(f"[{self._begun + 1}/{self._total}] {description}{about}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
