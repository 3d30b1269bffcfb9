"""`nvrar-bench schema`: the JSON Schemas of what this program writes."""

from __future__ import annotations

from typing import Annotated

import typer

from nvrar_bench.settings import options


def schema(
    document: Annotated[
        str,
        typer.Argument(
            metavar="[run|comparison|tuning|env]",
            help="Which document: run, as sweep writes it, comparison, as compare does, tuning, as "
            "tune does, or env.",
        ),
    ] = "run",
) -> None:
    """Print the JSON Schema (2020-12) of a document: run record, comparison, tuning table, env."""
    import json

    from nvrar_bench.compare import schema as comparison
    from nvrar_bench.results import inventory_schema as env
    from nvrar_bench.results import schema as run
    from nvrar_bench.tuning import schema as tuning

    schemas = {
        "run": run.schema,
        "comparison": comparison.schema,
        "tuning": tuning.schema,
        "env": env.schema,
    }
    options.require(document in schemas, "schema", repr(document), ", ".join(schemas))
    typer.echo(json.dumps(schemas[document](), indent=2))
