"""`nvrar-bench merge`: one record of several launches, from the record of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings.option import argument, option, place


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
    # Imported on use, so that --help does not wait for NumPy.
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
