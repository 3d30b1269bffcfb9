"""`nvrar-bench schema`: the JSON Schemas of what this program writes."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench.cli import options


def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="[run|comparison]",
            help="Which document: run, as sweep writes it, or comparison, as compare does.",
        ),
    ] = "run",
) -> None:
    """Print the JSON Schema (2020-12) of the run record, or of a comparison."""
    import json

    from nvrar_bench.compare import schema as comparison
    from nvrar_bench.results import schema as run

    schemas = {"run": run.schema, "comparison": comparison.schema}
    options.require(document in schemas, "schema", repr(document), "run, comparison")
    typer.echo(json.dumps(schemas[document](), indent=2))
