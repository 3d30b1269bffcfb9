"""Case files: sweeps written down in TOML, to be run by name.

docs/reference.md lists the keys. Lists combine each with each, but `wrap` only with sums and
products of integers. A sweep is one `plan.Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvrar_bench.errors import CaseFileError, UsageError
from nvrar_bench.files import data_dir, load_toml
from nvrar_bench.plan import AXES, Plan
from nvrar_bench.settings.plans import build_plan, sizes_from_range
from nvrar_bench.units import parse_size


@dataclass(frozen=True)
class Sweep:
    """One `[[sweep]]` table; an empty tuple or None means that the file leaves it to the caller."""

    name: str
    nodes: tuple[int, ...]
    backends: tuple[str, ...]
    iters: int | None
    warmup: int | None
    plan: Plan


def read_case_file(source: str | Path) -> tuple[Sweep, ...]:
    """Read the case file at `source`, a path, or the name of a shipped one such as `"smoke"`.

    A text without a folder and without a suffix is a name. What cannot be read, is not TOML or not
    allowed is a CaseFileError, which names file, sweep, key and what is allowed.
    """
    path = find_case_file(source)
    document = load_toml(path, CaseFileError)
    tables = document.pop("sweep", None)
    if document:
        raise CaseFileError(f"{path}: unknown key {next(iter(document))!r}; allowed: [[sweep]]")
    if not isinstance(tables, list) or not tables:
        raise CaseFileError(f"{path}: sweep: expected one or more [[sweep]] tables")
    sweeps = tuple(_sweep(table, f"{path}: sweep {i}") for i, table in enumerate(tables, 1))
    names = [sweep.name for sweep in sweeps]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise CaseFileError(
                f"{path}: sweep {i + 1}: name {name!r} is taken; allowed: a new one"
            )
    return sweeps


def shipped_case_files() -> tuple[str, ...]:
    """Names of the case files that come with the package, sorted."""
    return tuple(sorted(path.stem for path in data_dir("cases").glob("*.toml")))


def find_case_file(source: str | Path) -> Path:
    """Return the path of a case file; CaseFileError where `source` is a name, but of none."""
    path = Path(source)
    if isinstance(source, Path) or path.suffix or path.name != source:
        return path
    names = shipped_case_files()
    if source not in names:
        raise CaseFileError(
            f"--case {source!r} is no shipped case file; allowed: {', '.join(names)}, "
            f"or a path such as ./{source}.toml"
        )
    return data_dir("cases") / f"{source}.toml"


@dataclass(frozen=True)
class _Kind:
    """What a value may be, and how a message says so; whether a list of such may stand there."""

    is_right: Callable[[Any], bool]
    allowed: str
    several: bool = False


def _whole(least: int) -> Callable[[Any], bool]:
    # In Python True is an int; in TOML it is no number.
    return lambda value: type(value) is int and value >= least


def _is_size(value: Any) -> bool:
    return isinstance(value, str) or _whole(1)(value)


_SIZE = _Kind(_is_size, 'a size in bytes, such as 4096 or "128K"')
_WHOLES = _Kind(_whole(1), "whole numbers, 1 and more", several=True)
_TEXTS = _Kind(lambda v: isinstance(v, str) and v != "", "a text or a list of texts", several=True)
_KINDS = {
    "name": _Kind(lambda v: isinstance(v, str) and v.strip() != "", "a text that is not empty"),
    "min": _SIZE,
    "max": _SIZE,
    "factor": _Kind(lambda value: type(value) in (int, float), "a number above 1"),
    "step": _SIZE,
    "sizes": replace(_SIZE, several=True),
    **dict.fromkeys(("counts", "hidden", "batches", "nodes"), _WHOLES),
    **dict.fromkeys((*AXES, "backends"), _TEXTS),
    "iters": _Kind(_whole(1), "a whole number, 1 and more"),
    "warmup": _Kind(_whole(0), "a whole number, 0 and more"),
}


class _SweepKeys:
    """The keys of one `[[sweep]]`, each checked when it is asked for."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.table = table
        self.where = where

    def every(self, key: str) -> tuple[Any, ...]:
        """Return all values of a key, each once; none where it is left out."""
        if key not in self.table:
            return ()
        value, kind = self.table[key], _KINDS[key]
        values = value if kind.several and isinstance(value, list) else [value]
        if not (values and all(map(kind.is_right, values))):
            allowed = kind.allowed if values else "a list that is not empty"
            raise CaseFileError(f"{self.where}: {key} {value!r} is not allowed; allowed: {allowed}")
        return tuple(dict.fromkeys(values))

    def one(self, key: str) -> Any:
        """Return the value of a key; None where it is left out."""
        return next(iter(self.every(key)), None)

    def needed(self, key: str) -> tuple[Any, ...]:
        """Return the values of a key that must be there."""
        if key not in self.table:
            allowed = _KINDS[key].allowed
            raise CaseFileError(f"{self.where}: {key} is missing; allowed: {allowed}")
        return self.every(key)

    def sizes(self, key: str) -> list[int]:
        """Return the sizes of a key that must be there, in bytes."""
        return [
            parse_size(value, option=key) if isinstance(value, str) else value
            for value in self.needed(key)
        ]


# Four ways to say the sizes: the keys of each.
_WAYS = (("min", "max", "factor", "step"), ("sizes",), ("counts",), ("hidden", "batches"))
_KEYS = tuple(_KINDS)


def _sweep(table: Any, where: str) -> Sweep:
    if not isinstance(table, dict):
        raise CaseFileError(f"{where}: expected a table, [[sweep]]")
    unknown = [key for key in table if key not in _KEYS]
    # A misspelt key would leave its default in force, unseen.
    if unknown:
        raise CaseFileError(f"{where}: unknown key {unknown[0]!r}; allowed: {', '.join(_KEYS)}")
    keys = _SweepKeys(table, where)
    (name,) = keys.needed("name")
    settings = keys.every("nodes"), keys.every("backends"), keys.one("iters"), keys.one("warmup")
    return Sweep(name, *settings, _plan(keys))


def _plan(keys: _SweepKeys) -> Plan:
    ways = [way for way in _WAYS if any(key in keys.table for key in way)]
    if len(ways) != 1:
        raise CaseFileError(
            f"{keys.where}: sizes given in {len(ways)} ways; allowed: exactly one of "
            f"min and max; sizes; counts; hidden and batches"
        )
    choices = [keys.every(key) or (axis.default,) for key, axis in AXES.items()]
    first = ways[0][0]
    try:
        sizes, counts = _sizes(keys, first)
        size_key = "min" if first == "min" else "sizes"
        return build_plan(sizes, *choices, counts=counts, spell=str, size_key=size_key)
    except CaseFileError:
        raise
    except UsageError as error:
        raise CaseFileError(f"{keys.where}: {error}") from error


def _sizes(keys: _SweepKeys, way: str) -> tuple[Sequence[int], Sequence[int]]:
    """Return sizes in bytes, and counts of elements; `way` is the first key of one of _WAYS."""
    if way == "min":
        step = keys.sizes("step")[0] if "step" in keys.table else None
        bounds = keys.sizes("min")[0], keys.sizes("max")[0]
        return sizes_from_range(*bounds, keys.one("factor"), step, spell=str), ()
    if way == "hidden":
        batches, hidden_sizes = keys.needed("batches"), keys.needed("hidden")
        return (), [batch * hidden for hidden in hidden_sizes for batch in batches]
    return (keys.sizes("sizes"), ()) if way == "sizes" else ((), keys.needed("counts"))
