"""`nvrar-bench schema`: the JSON Schemas of what this program writes."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench.settings import values


def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="[run|comparison|tuning|env|decode]",
            help="Which document: run, as sweep writes it, comparison, as compare does, tuning, as "
            "tune does, env, or decode.",
        ),
    ] = "run",
) -> None:
    """Print the JSON Schema (2020-12) of a document."""
    # Imported on use, so that --help does not wait for NumPy.
    import json

    from nvrar_bench.documents.base import JsonObject, schema_of
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
    values.require(document in kinds, "schema", repr(document), ", ".join(kinds))
    typer.echo(json.dumps(schema_of(kinds[document]), indent=2))
