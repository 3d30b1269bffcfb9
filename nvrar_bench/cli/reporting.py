"""What `report` is asked for: whether it makes sense, and where what goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.cli.console import console
from nvrar_bench.cli.places import require_places
from nvrar_bench.documents.files import STDOUT, write_text
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import encode as as_json
from nvrar_bench.report.formats import FORMATS, SUMMARY, TABLE, table_writer
from nvrar_bench.report.grid import printable
from nvrar_bench.report.remarks import beside_results
from nvrar_bench.settings.options import require


@dataclass(frozen=True)
class Wanted:
    """The options of `report`; `variants` are those that were given of what a form has."""

    runs: Sequence[Path]
    form: str
    variants: Sequence[str]
    output: Path | None
    json: Path | None

    def require_sense(self) -> None:
        """Refuse options that do not go together, and files that cannot be written.

        Raises:
            UsageError: names the options.
        """
        require(self.form in FORMATS, "--format", repr(self.form), ", ".join(FORMATS))
        form, several = FORMATS[self.form], f"with {len(self.runs)} runs"
        for option in self.variants:
            fitting = ", ".join(name for name, each in FORMATS.items() if option in each.variants)
            require(option in form.variants, option, f"with --format {self.form}",
                    f"--format {fitting}")  # fmt: skip
        others = [option for option in self.variants if option != SUMMARY]
        require(not others or SUMMARY not in self.variants, SUMMARY,
                f"with {', '.join(others)}", "one of the two")  # fmt: skip
        is_one = len(self.runs) == 1
        require(is_one or form.takes_several, f"--format {self.form}", several, "one run")
        require(is_one or self.json is None, "--json", several, "one run")
        self._require_places()

    def _require_places(self) -> None:
        require(self.form == TABLE or not self._is_json_alone, "--json -",
                f"with --format {self.form}", "--output PATH beside it")  # fmt: skip
        reads = [("RUN.json", path) for path in self.runs]
        require_places([("--json", self.json), ("--output", self.output)], reads)

    def write(self, records: Sequence[RunRecord]) -> None:
        """Write the report, whole or not at all, and the record where that was asked for."""
        text = None if self._is_for_screen else self._text(records)
        if self.json is not None:
            write_text(self.json, as_json(records[0]), "--json")
        if text is None:
            self._show(records)
        else:
            write_text(self.output or STDOUT, text, "--output")
            self._say_the_rest(records)

    @property
    def _is_for_screen(self) -> bool:
        """Whether it is a table on standard output, which may be a terminal."""
        return self.form == TABLE and self.output in (None, STDOUT)

    @property
    def _is_json_alone(self) -> bool:
        """Whether standard output is for the record, and nothing else was asked for."""
        return self.json == STDOUT and self.output is None

    def _text(self, records: Sequence[RunRecord]) -> str:
        return FORMATS[self.form].encode(records, self.variants)

    def _show(self, records: Sequence[RunRecord]) -> None:
        if not self._is_json_alone:
            for record in records:
                table_writer(self.variants)(record, console("stdout"))

    def _say_the_rest(self, records: Sequence[RunRecord]) -> None:
        """Say on standard error what the form has no place for."""
        if FORMATS[self.form].tells_all:
            return
        for path, record in zip(self.runs, records, strict=True):
            for remark in beside_results(record):
                sys.stderr.write(printable(f"nvrar-bench: {path}: {remark}", "utf-8") + "\n")
