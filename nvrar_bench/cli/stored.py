"""`nvrar-bench report`, `merge` and `schema`: stored runs, and what a document is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from nvrar_bench.settings import values
from nvrar_bench.settings.option import argument, option, place
from nvrar_bench.settings.options import ReportOptions


def report(options: ReportOptions) -> None:
    """Show stored runs again, as table, page, CSV or metrics.

    All figures are computed anew. Starts no rank and needs no MPI.
    """
    # Imported on use, here and below, so that --help does not wait for NumPy.
    from nvrar_bench.cli.reporting import write

    write(options)


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """Options of `merge`."""

    records: list[Path] = argument("RUN.json...", "Run records, in order.")
    json: Path | None = option(
        "--json PATH|-", "Write the merged record here; - is standard output.", parser=place
    )


def merge(options: MergeOptions) -> None:
    """Merge the records of several launches into one.

    Prints its table, too. Records of different ranks, settings, versions or MPI libraries are
    refused.
    """
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.documents.files import STDOUT
    from nvrar_bench.documents.run_file import Writer, read_record
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import table
    from nvrar_bench.statistics.merge import merge as merge_records

    records, json = options.records, options.json
    require_places([("--json", json)], [("RUN.json", path) for path in records])
    merged = merge_records([read_record(path) for path in records], [str(path) for path in records])
    Writer(json).write(merged)
    if json != STDOUT:
        table.write(merged, console("stdout"))


@dataclass(frozen=True, kw_only=True)
class SchemaOptions:
    """Options of `schema`."""

    document: str = argument(
        "[run|comparison|tuning|env|decode]",
        "Which document: run, as sweep writes it, comparison, as compare does, tuning, as tune "
        "does, env, or decode.",
        default="run",
    )


def schema(options: SchemaOptions) -> None:
    """Print the JSON Schema (2020-12) of a document."""
    import json

    from nvrar_bench.documents import JsonObject, schema_of
    from nvrar_bench.documents.comparison import ComparisonDocument
    from nvrar_bench.documents.decode import DecodeRecord
    from nvrar_bench.documents.inventory import Inventory
    from nvrar_bench.documents.record import RunRecord
    from nvrar_bench.documents.tuning import TuningDocument

    kinds: dict[str, type[JsonObject]] = {
        "run": RunRecord,
        "comparison": ComparisonDocument,
        "tuning": TuningDocument,
        "env": Inventory,
        "decode": DecodeRecord,
    }
    name = options.document
    values.require(name in kinds, "schema", repr(name), ", ".join(kinds))
    typer.echo(json.dumps(schema_of(kinds[name]), indent=2))
