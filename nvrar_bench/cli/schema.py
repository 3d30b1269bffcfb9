"""`nvrar-bench schema`: the JSON Schemas of what this program writes."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from nvrar_bench.settings import values
from nvrar_bench.settings.option import argument


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
    name = options.document
    values.require(name in kinds, "schema", repr(name), ", ".join(kinds))
    typer.echo(json.dumps(schema_of(kinds[name]), indent=2))
