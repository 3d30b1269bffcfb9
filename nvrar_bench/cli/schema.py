"""`nvrar-bench schema`: the JSON Schema of the run record."""

from __future__ import annotations


def schema() -> None:
    """Print the JSON Schema (2020-12) of the run record."""
    import json

    import typer

    from nvrar_bench.results.schema import schema as record_schema

    typer.echo(json.dumps(record_schema(), indent=2))
