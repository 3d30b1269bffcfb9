"""The forms in which `report` writes stored runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO

from rich.console import Console

from nvrar_bench.documents.decode import DecodeRecord
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.report import csv_rows, openmetrics, page, summary, table
from nvrar_bench.report.decode import csv_rows as steps_csv
from nvrar_bench.report.decode import openmetrics as steps_metrics
from nvrar_bench.report.decode import page as steps_page
from nvrar_bench.report.decode import table as steps_table
from nvrar_bench.report.grid import WIDE

SUMMARY, WIDE_TABLE, VERBOSE, SAMPLES = "--summary", "--wide", "--verbose", "--samples"
Write = Callable[[RunRecord, Console], None]
Encode = Callable[[Sequence[RunRecord], Collection[str]], str]
EncodeSteps = Callable[[Sequence[DecodeRecord], Collection[str]], str]


@dataclass(frozen=True)
class Format:
    """One form.

    Attributes:
        encode: returns the text of all runs, as the options that were given want it.
        encode_steps: the same of runs of decode.
        tells_all: whether that says what no result knows: skipped backends, errors, how it ended.
        takes_several: whether it has room for several runs.
        variants: the options that change it.

    """

    encode: Encode
    encode_steps: EncodeSteps
    tells_all: bool
    takes_several: bool = True
    variants: tuple[str, ...] = ()


def table_writer(options: Collection[str]) -> Write:
    """Return what writes one record to a console as `options` want it."""
    if SUMMARY in options:
        return summary.write
    return partial(table.write, wide=WIDE_TABLE in options, verbose=VERBOSE in options)


def _table(records: Sequence[RunRecord], options: Collection[str]) -> str:
    file = StringIO()
    for record in records:
        table_writer(options)(record, Console(file=file, force_terminal=False, width=WIDE))
    return file.getvalue()


def _table_of_steps(records: Sequence[DecodeRecord], _: Collection[str]) -> str:
    file = StringIO()
    for record in records:
        steps_table.write(record, Console(file=file, force_terminal=False, width=WIDE))
    return file.getvalue()


def _csv(records: Sequence[RunRecord], options: Collection[str]) -> str:
    encode = csv_rows.encode_samples if SAMPLES in options else csv_rows.encode
    return encode(records)


def _csv_of_steps(records: Sequence[DecodeRecord], options: Collection[str]) -> str:
    return (steps_csv.encode_samples if SAMPLES in options else steps_csv.encode)(records)


TABLE = "table"
FORMATS: Mapping[str, Format] = {
    TABLE: Format(_table, _table_of_steps, tells_all=True, variants=(SUMMARY, WIDE_TABLE, VERBOSE)),
    "csv": Format(_csv, _csv_of_steps, tells_all=False, variants=(SAMPLES,)),
    # No series is labelled with its run: each run would begin new ones.
    "openmetrics": Format(
        lambda records, _: openmetrics.encode(records),
        lambda records, _: steps_metrics.encode(records),
        tells_all=False,
        takes_several=False,
    ),
    "html": Format(
        lambda records, _: page.encode(records),
        lambda records, _: steps_page.encode(records),
        tells_all=True,
    ),
}
