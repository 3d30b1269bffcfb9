"""`--launches N`: repeats the whole launch, and makes one record of all of it.

Every launch writes a record of its own into a temporary folder. What they come to is written after
each, so that a run that dies leaves the launches that have ended.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

from msgspec.structs import replace

from nvrar_bench.documents.files import STDOUT
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.documents.run_file import Writer, read_record
from nvrar_bench.errors import Interrupted, LostRank, NvrarBenchError, UsageError
from nvrar_bench.launch import launcher as launching
from nvrar_bench.launch.console import announce_terminal, console
from nvrar_bench.launch.environment import LAUNCH, Starter, expected_ranks, launcher
from nvrar_bench.launch.processes import STOPS, Signals
from nvrar_bench.statistics.figures import launches_in_state
from nvrar_bench.statistics.merge import LAUNCHES, merge

if TYPE_CHECKING:
    from nvrar_bench.report import Shown


@dataclass(frozen=True)
class Wanted:
    """`--launches` and `--max-launches`.

    So many launches; or so many that found the machine in one state at every point, out of `most`.
    """

    launches: int
    most: int | None = None

    @property
    def last(self) -> int:
        """How many there may be."""
        return self.launches if self.most is None else self.most

    def is_met(self, record: RunRecord) -> bool:
        """Whether there need be no more launches than those in `record`."""
        return self.most is not None and in_one_state(record) >= self.launches

    def warned(self, record: RunRecord) -> RunRecord:
        """Return `record` with a warning on each result of fewer launches than wanted."""
        if self.most is None:
            return record
        return replace(record, results=tuple(map(self._warned, record.results)))

    def _warned(self, result: Result) -> Result:
        found = launches_in_state(result)
        if found >= self.launches:
            return result
        text = (
            f"{LAUNCHES}{found} of {len(result.launch_samples)} found the machine in one state, "
            f"--launches {self.launches} were asked for: keep other work off it, or allow more "
            "--max-launches"
        )
        return replace(result, warnings=(*result.warnings, text))


def in_one_state(record: RunRecord) -> int:
    """How many launches each point is of, at least; all of them where there is no point."""
    return min(map(launches_in_state, record.results), default=int(record.settings["launches"]))


_COUNT = "NVRAR_BENCH_LAUNCHES"  # how many there will be: set where another process reports
_OWN_OPTIONS = (*launching.OPTIONS, "--launches", "--max-launches", "--json")
_ERRORS: dict[int, type[NvrarBenchError]] = {4: LostRank, 130: Interrupted}


def reports_elsewhere(environ: Mapping[str, str]) -> bool:
    """Whether this is one launch of several: the table is left to the process that starts them."""
    return _COUNT in environ


def repeat(
    wanted: Wanted,
    starter: Starter,
    virtual_ranks: int | None,
    json: Path | None,
    shown: Shown,
) -> int:
    """Launch this command as often as `wanted`, write and print one record; return the exit code.

    The first launch that ends badly is the last, and its exit code is returned. UsageError where
    none can be started from here.
    """
    _require_repeatable(wanted.launches, starter, virtual_ranks)
    writer = Writer(json)
    announce_terminal()
    os.environ[_COUNT] = str(wanted.last)
    # Rank 0 writes there, wherever it runs: clusters share the current folder.
    shared = "." if starter.command else None
    with TemporaryDirectory(prefix="nvrar-bench-", dir=shared) as folder, _held() as stopped:
        repetition = _Repetition(wanted, writer, Path(folder), shown)
        with repetition.closing():
            return repetition.run(lambda words: _start(starter, words), stopped)


def _require_repeatable(launches: int, starter: Starter, virtual_ranks: int | None) -> None:
    row = launcher(os.environ)
    if row is not None and not (starter and expected_ranks(os.environ) == 1):
        raise UsageError(
            f"--launches {launches} repeats mpirun, but {row.name} has started this process: "
            "repeat that, as in `for i in 1 2 3; do mpirun ... --json run$i.json; done`, then "
            "`nvrar-bench merge run1.json run2.json run3.json`"
        )
    if not starter and virtual_ranks is None:
        raise UsageError(
            f"--launches {launches} needs --ranks N or --launcher CMD, to start the ranks itself, "
            "or --virtual-ranks N"
        )


@contextlib.contextmanager
def _held() -> Iterator[Callable[[], bool]]:
    """Hold back signals that end a run, so that no record is lost; yield whether there was one."""
    signals = Signals(STOPS)
    try:
        yield lambda: bool(signals.wait(0)[0])
    finally:
        signals.close()


def _start(starter: Starter, words: list[str]) -> int:
    """Launch once. Hydra prints of a launch that ends badly to stdout, which is the record's."""
    stdout = sys.stderr.fileno()
    if not starter:
        return launching.alone(words, stdout)
    return launching.start(starter, words, stdout)


def _arguments(path: Path, one_state: bool) -> list[str]:
    """The command line of one launch, whose record goes to `path`.

    `--max-launches` asks for one state, and is left out of it.
    """
    asked = ["--one-state"] if one_state else []
    command, *options = launching.without(sys.argv[1:], _OWN_OPTIONS)
    return [command, "--json", str(path), *asked, *options]


class _Repetition:
    """The launches so far, and their record."""

    def __init__(self, wanted: Wanted, writer: Writer, folder: Path, shown: Shown) -> None:
        self._wanted, self._writer, self._folder = wanted, writer, folder
        self._shown = shown
        self._records: list[RunRecord] = []
        self._so_far: RunRecord | None = None  # of those that ended well
        self._id = uuid4().hex
        self._started = time.monotonic()
        self._code = 1

    def run(self, start: Callable[[list[str]], int], stopped: Callable[[], bool]) -> int:
        """Launch as often as wanted, or until a launch ends badly; return its exit code."""
        for index in range(self._wanted.last):
            self._code = 1  # unless the launch comes to an end
            code = Interrupted.exit_code if stopped() else self._launch(index, start)
            if code == 0:
                self._so_far = self._merged()
                self._write_unfinished(self._so_far)
            self._code = code
            if code or (self._so_far and self._wanted.is_met(self._so_far)):
                break
        return self._code

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Write and show what there is, however the launches end."""
        cause: Exception | None = None
        try:
            yield
        except Exception as error:
            cause = error
            raise
        finally:
            if self._records:
                self._close(cause)

    def _launch(self, index: int, start: Callable[[list[str]], int]) -> int:
        self._announce(index)
        os.environ[LAUNCH] = str(index)
        path = self._folder / f"{index}.json"
        code = start(_arguments(path, one_state=self._wanted.most is not None))
        if path.exists():
            self._add(_explained(read_record(path), code))
            path.unlink()
        elif code == 0:
            raise NvrarBenchError(
                f"launch {index + 1} left no record in {self._folder}: rank 0 must "
                "write to a folder that this host sees"
            )
        elif self._records:
            self._add(_without_record(self._records[0], code))
        return code

    def _add(self, record: RunRecord) -> None:
        """Keep a record, unless it cannot be merged: the others are not to be lost for it."""
        names = ["launch 1", f"launch {len(self._records) + 1}"]
        if self._records:
            merge([self._records[0], record], names)
        self._records.append(record)

    def _announce(self, index: int) -> None:
        line = f"[{index + 1}/{self._wanted.last}] launch"
        if index:
            each = (time.monotonic() - self._started) / index
            line += f", {self._left(index, each)}"
        console("stderr").print(line, markup=False, highlight=False, soft_wrap=True)

    def _merged(self) -> RunRecord:
        names = [f"launch {i}" for i in range(1, len(self._records) + 1)]
        record = merge(self._records, names)
        return replace(record, run=replace(record.run, id=self._id, command=tuple(sys.argv)))

    def _left(self, index: int, each: float) -> str:
        """What is still to come, before launch `index` > 0; a launch takes `each` seconds."""
        seconds = each * (self._wanted.last - index)
        if self._wanted.most is None:
            return f"about {seconds:.0f} s left"
        found = in_one_state(self._so_far) if self._so_far else 0
        return (
            f"at most {seconds:.0f} s left; {found} of {self._wanted.launches} in one state so far"
        )

    def _write_unfinished(self, record: RunRecord) -> None:
        if self._writer.destination not in (None, STDOUT):
            run = replace(record.run, status="interrupted", finished_at=None)
            self._writer.write(replace(record, run=run))

    def _close(self, cause: Exception | None) -> None:
        record = self._merged()
        if self._code == 0:
            record = self._wanted.warned(record)
        if self._code and record.run.status == "complete":  # it ended between two launches
            message = f"the run ended after launch {len(self._records)}"
            record = _failed(record, self._code, f"{message}: {cause}" if cause else message)
        try:
            self._writer.write(record)
        finally:  # a record that cannot be written is shown all the same
            if self._writer.destination != STDOUT and (record.results or not self._code):
                self._shown.write(record, console("stdout"))


def _explained(record: RunRecord, code: int) -> RunRecord:
    """The record of a launch that ended with `code`: closed, and with an error if that is not 0."""
    if code == 0 or record.errors:
        return record
    return _failed(record, code, f"it ended with exit code {code}")


def _failed(record: RunRecord, code: int, message: str) -> RunRecord:
    error = _ERRORS.get(code, NvrarBenchError)(message)
    return record.with_error(error).finished("interrupted" if code == 130 else "failed")


def _without_record(first: RunRecord, code: int) -> RunRecord:
    """What is known of a launch that ended before it could write: that it ended."""
    run = RunRecord.begin(
        command=first.run.command,
        version=first.run.version,
        settings=first.settings,
        topology=first.topology,
        environment={},
    )
    return _failed(run, code, f"it ended with exit code {code}, before its first case")
