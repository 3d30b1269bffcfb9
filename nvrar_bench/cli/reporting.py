"""What `report` is asked for: in which form, whether that makes sense, and where what goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from nvrar_bench.cli.places import require_places
from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.files import STDOUT, write_text
from nvrar_bench.documents.record import Record
from nvrar_bench.documents.run_file import encode, read_any_record
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.launch.console import console
from nvrar_bench.report import Shown, csv_rows, openmetrics, page
from nvrar_bench.report.grid import WIDE, printable
from nvrar_bench.report.remarks import beside_results
from nvrar_bench.settings.options import ReportOptions
from nvrar_bench.settings.values import require
from nvrar_bench.statistics.decode import replay as replay_steps
from nvrar_bench.statistics.figures import replay

TABLE = "table"
SUMMARY, WIDE_TABLE, VERBOSE, SAMPLES = "--summary", "--wide", "--verbose", "--samples"
_VARIANTS = ("samples", "summary", "wide", "verbose")
# Of records that are all of sweep, or all of decode.
Encode = Callable[[Sequence[Any], Collection[str]], str]


def _shown(record: Record, options: Collection[str]) -> Shown:
    """Return what shows a record on a screen."""
    is_decode = isinstance(record, DecodeRecord)
    name = "decode" if is_decode else "summary" if SUMMARY in options else TABLE
    return Shown(name, WIDE_TABLE in options, VERBOSE in options)


def _table(records: Sequence[Any], options: Collection[str]) -> str:
    file = StringIO()
    for record in records:
        to = Console(file=file, force_terminal=False, width=WIDE)
        _shown(record, options).write(record, to)
    return file.getvalue()


def _csv(records: Sequence[Any], options: Collection[str]) -> str:
    return (csv_rows.encode_samples if SAMPLES in options else csv_rows.encode)(records)


@dataclass(frozen=True)
class Format:
    """One form of stored runs."""

    encode: Encode  # the text of all runs, as the options that were given want it
    tells_all: bool  # also what no result knows: skipped backends, errors, how the run ended
    takes_several: bool = True
    variants: tuple[str, ...] = ()  # the options that change it


FORMATS: Mapping[str, Format] = {
    TABLE: Format(_table, tells_all=True, variants=(SUMMARY, WIDE_TABLE, VERBOSE)),
    "csv": Format(_csv, tells_all=False, variants=(SAMPLES,)),
    # No series is labelled with its run: each run would begin new ones.
    "openmetrics": Format(
        lambda records, _: openmetrics.encode(records), tells_all=False, takes_several=False
    ),
    "html": Format(lambda records, _: page.encode(records), tells_all=True),
}


def write(options: ReportOptions) -> None:
    """Write the report, whole or not at all, and the record where that was asked for.

    UsageError: options that do not go together, a place that cannot be written, a file that is no
    record, or whose samples come to no figures that JSON can hold.
    """
    variants = [f"--{name}" for name in _VARIANTS if getattr(options, name)]
    # Standard output is for the record, and nothing else was asked for.
    is_json_alone = options.json == STDOUT and options.output is None
    _require_sense(options, variants)
    is_shown, beside = options.form == TABLE or not is_json_alone, f"with --format {options.form}"
    require(is_shown, "--json -", beside, "--output PATH beside it")
    reads = [("RUN.json", path) for path in options.run]
    require_places([("--json", options.json), ("--output", options.output)], reads)
    read = [read_any_record(path) for path in options.run]
    _require_one_kind(read, options, variants)
    records = [_anew(path, one, options) for path, one in zip(options.run, read, strict=True)]
    # A table on standard output, which may be a terminal, is drawn there.
    is_drawn = options.form == TABLE and options.output in (None, STDOUT)
    text = None if is_drawn else FORMATS[options.form].encode(records, variants)
    if options.json is not None:
        write_text(options.json, encode(records[0]), "--json")
    if text is not None:
        write_text(options.output or STDOUT, text, "--output")
        _say_the_rest(options, records)
    elif not is_json_alone:
        for record in records:
            _shown(record, variants).write(record, console("stdout"))


def _require_sense(options: ReportOptions, variants: Sequence[str]) -> None:
    name, runs = options.form, options.run
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
    require(is_one or options.json is None, "--json", several, "one run")


def _require_one_kind(
    records: Sequence[Record], options: ReportOptions, variants: Sequence[str]
) -> None:
    """Refuse records of both kinds, and what those of decode steps do not have."""
    steps = sum(isinstance(record, DecodeRecord) for record in records)
    if not steps:
        return
    together = f"{steps} of decode and {len(records) - steps} of sweep"
    require(steps == len(records), "RUN.json", together, "records of one of the two commands")
    given = [option for option in variants if option != SAMPLES]
    given += ["--one-state"] if options.one_state else []
    for option in given:
        require(False, option, "with records of decode", "none of these options")


def _anew(path: Path, read: Any, options: ReportOptions) -> Record:
    """Compute the figures of a record that was read at `path` anew."""
    is_steps = isinstance(read, DecodeRecord)
    try:
        record = replay_steps(read) if is_steps else replay(read, options.one_state)
        # Encoded too, and thrown away: samples beyond all bounds may have a mean that is no
        # JSON, which is better found before anything is written.
        encode(record)
    except NvrarBenchError as error:
        raise UsageError(f"{path}: {error}") from error
    return record


def _say_the_rest(options: ReportOptions, records: Sequence[Record]) -> None:
    """Say on standard error what the form has no place for."""
    if FORMATS[options.form].tells_all:
        return
    for path, record in zip(options.run, records, strict=True):
        for remark in beside_results(record):
            sys.stderr.write(printable(f"nvrar-bench: {path}: {remark}", "utf-8") + "\n")
