"""Reads a tuning table from a file, for `auto` to follow."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from nvrar_bench import __version__
from nvrar_bench.backends.nvrar.tuning import Maker, Row, TuningTable
from nvrar_bench.devices.operation import Shape
from nvrar_bench.errors import UsageError
from nvrar_bench.results.files import reason_of
from nvrar_bench.results.shapes import parse_json
from nvrar_bench.tuning import VARIABLE, named_table
from nvrar_bench.tuning.document import FORMAT, FORMAT_VERSION, Choice, Document
from nvrar_bench.tuning.schema import first_problem


def table_for(
    path: str | Path | None, option: str, environ: Mapping[str, str] = os.environ
) -> TuningTable | None:
    """Read the table at `path`, which `option` named, or else the one that $NVRAR_BENCH_TUNING has.

    Raises:
        UsageError: it cannot be read, or is no table.
    """
    named = named_table(path, environ)
    if named is None:
        return None
    return read_table(named, f"{option} {path}" if path is not None else f"{VARIABLE}={named}")


def read_table(path: Path, source: str) -> TuningTable:
    """Read the table at `path`; `source` is how messages call it.

    Raises:
        UsageError: it cannot be read, is no table, or has two choices for one size.
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{source} cannot be read: {reason_of(error)}; allowed: a table, as written by "
            "nvrar-bench tune"
        ) from error
    document = _document(content, source)
    rows = tuple(map(_row, document.choices))
    keys = [(row.dtype, row.op, row.buffers, row.size_bytes) for row in rows]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{source}: two choices for {' '.join(map(str, key))} bytes")
    made_on = document.made_on
    maker = Maker(made_on.processor, made_on.kernels_sha256)
    digest = hashlib.sha256(content).hexdigest()
    return TuningTable(source, str(path), digest, document.made_for, maker, rows)


def _document(content: bytes, source: str) -> Document:
    try:
        value = parse_json(content)
    # ValueError: not UTF-8, not JSON, NaN, endless digits. RecursionError: endless nesting.
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source} is not the JSON of a tuning table: {error}") from error
    version = value.get("format_version") if isinstance(value, dict) else None
    if version not in (None, FORMAT_VERSION) and value.get("format") == FORMAT:
        raise UsageError(
            f"{source} is a table of format_version {version!r}, written by nvrar-bench "
            f"{value.get('version')}; allowed: {FORMAT_VERSION}, of this nvrar-bench "
            f"{__version__}: use the one that wrote it, or tune again"
        )
    problem = first_problem(value)
    if problem is not None:
        raise UsageError(f"{source} is not a {FORMAT} table: {problem}")
    return Document.from_json(value)


def _row(choice: Choice) -> Row:
    shape = Shape(choice.protocol, choice.blocks, choice.threads, choice.chunk_bytes, choice.radix)
    return Row(choice.dtype, choice.op, choice.buffers, choice.size_bytes, shape)
