"""What `report` is asked for: whether it makes sense, and where what goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nvrar_bench.cli.places import require_places
from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.files import STDOUT, write_text
from nvrar_bench.documents.record import Record, RunRecord
from nvrar_bench.documents.run_file import encode, read_any_record
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.launch.console import console
from nvrar_bench.report.decode import table as steps_table
from nvrar_bench.report.formats import FORMATS, SAMPLES, SUMMARY, TABLE, table_writer
from nvrar_bench.report.grid import printable
from nvrar_bench.report.remarks import beside_results
from nvrar_bench.settings.options import ReportOptions
from nvrar_bench.settings.values import require
from nvrar_bench.statistics.decode import replay as replay_steps
from nvrar_bench.statistics.figures import replay

_Kind = TypeVar("_Kind", bound=Record)


@dataclass(frozen=True)
class StoredReport:
    """The options of `report`, and what they come to."""

    options: ReportOptions

    def require_sense(self) -> None:
        """Refuse options that do not go together, and files that cannot be written.

        Raises:
            UsageError: names the options.
        """
        name, runs, variants = self.options.form, self.options.run, self._variants
        require(name in FORMATS, "--format", repr(name), ", ".join(FORMATS))
        form, several = FORMATS[name], f"with {len(runs)} runs"
        for option in variants:
            fitting = ", ".join(other for other, each in FORMATS.items() if option in each.variants)
            allowed = f"--format {fitting}"
            require(option in form.variants, option, f"with --format {name}", allowed)
        others = [option for option in variants if option != SUMMARY]
        is_alone = not others or SUMMARY not in variants
        require(is_alone, SUMMARY, f"with {', '.join(others)}", "one of the two")
        is_one = len(runs) == 1
        require(is_one or form.takes_several, f"--format {name}", several, "one run")
        require(is_one or self.options.json is None, "--json", several, "one run")
        self._require_places()

    def _require_places(self) -> None:
        is_shown = self.options.form == TABLE or not self._is_json_alone
        beside = f"with --format {self.options.form}"
        require(is_shown, "--json -", beside, "--output PATH beside it")
        reads = [("RUN.json", path) for path in self.options.run]
        require_places([("--json", self.options.json), ("--output", self.options.output)], reads)

    def write(self) -> None:
        """Write the report, whole or not at all, and the record where that was asked for.

        Raises:
            UsageError: a file is no record, or its samples come to no figures that JSON can hold.
        """
        records = [read_any_record(path) for path in self.options.run]
        steps = [record for record in records if isinstance(record, DecodeRecord)]
        if steps:
            self._require_of_steps(steps, len(records))
            self._write_steps([_anew(path, replay_steps, one) for path, one in self._beside(steps)])
        else:
            runs = [record for record in records if isinstance(record, RunRecord)]
            one_state = self.options.one_state
            self._write_runs(
                [_anew(path, lambda one: replay(one, one_state), run)
                 for path, run in self._beside(runs)]
            )  # fmt: skip

    def _beside(self, records: Sequence[_Kind]) -> Iterator[tuple[Path, _Kind]]:
        return zip(self.options.run, records, strict=True)

    def _write_runs(self, records: Sequence[RunRecord]) -> None:
        form = FORMATS[self.options.form]
        text = None if self._is_for_screen else form.encode(records, self._variants)
        write = table_writer(self._variants)
        self._put(records, text, lambda: [write(one, console("stdout")) for one in records])

    def _write_steps(self, records: Sequence[DecodeRecord]) -> None:
        form = FORMATS[self.options.form]
        text = None if self._is_for_screen else form.encode_steps(records, self._variants)
        write = steps_table.write
        self._put(records, text, lambda: [write(one, console("stdout")) for one in records])

    def _put(self, records: Sequence[Record], text: str | None, show: Callable[[], object]) -> None:
        """Write the record where that was asked for, and the report: `text`, or on the screen."""
        if self.options.json is not None:
            write_text(self.options.json, encode(records[0]), "--json")
        if text is not None:
            write_text(self.options.output or STDOUT, text, "--output")
            self._say_the_rest(records)
        elif not self._is_json_alone:
            show()

    def _require_of_steps(self, steps: Sequence[DecodeRecord], among: int) -> None:
        """Refuse what records of decode steps do not have."""
        together = f"{len(steps)} of decode and {among - len(steps)} of sweep"
        require(len(steps) == among, "RUN.json", together, "records of one of the two commands")
        given = [option for option in self._variants if option != SAMPLES]
        given += ["--one-state"] if self.options.one_state else []
        for option in given:
            require(False, option, "with records of decode", "none of these options")

    @property
    def _variants(self) -> list[str]:
        """The options that were given of what only some forms have."""
        names = ("samples", "summary", "wide", "verbose")
        return [f"--{name}" for name in names if getattr(self.options, name)]

    @property
    def _is_for_screen(self) -> bool:
        """Whether it is a table on standard output, which may be a terminal."""
        return self.options.form == TABLE and self.options.output in (None, STDOUT)

    @property
    def _is_json_alone(self) -> bool:
        """Whether standard output is for the record, and nothing else was asked for."""
        return self.options.json == STDOUT and self.options.output is None

    def _say_the_rest(self, records: Sequence[Record]) -> None:
        """Say on standard error what the form has no place for."""
        if FORMATS[self.options.form].tells_all:
            return
        for path, record in zip(self.options.run, records, strict=True):
            for remark in beside_results(record):
                sys.stderr.write(printable(f"nvrar-bench: {path}: {remark}", "utf-8") + "\n")


def _anew(path: Path, compute: Callable[[_Kind], _Kind], record: _Kind) -> _Kind:
    """Compute the figures of a record that was read at `path` anew."""
    try:
        # Encoded too, and thrown away: samples beyond all bounds may have a mean that is no JSON,
        # which is better found before anything is written.
        record = compute(record)
        encode(record)
    except NvrarBenchError as error:
        raise UsageError(f"{path}: {error}") from error
    return record
