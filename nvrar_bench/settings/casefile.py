"""Case files: sweeps written down in TOML, to be run by name.

A case file is one or more `[[sweep]]` tables. Every sweep has a `name` and says its message sizes
in exactly one of four ways:

    min, max         sizes in bytes per rank, with `factor` (a number above 1; default 2)
                     or `step` (a size)
    sizes            a list of sizes
    counts           a list of element counts
    hidden, batches  the all-reduce of a transformer layer: batch x hidden elements, hence
                     batch x hidden x itemsize bytes, for every hidden size and batch

A size is a whole number of bytes or a text such as "128K". Everything else may be left out, and a
single value may stand where a list of one is meant. A file has at most 64 KiB.

    dtype      names of datatypes.DTYPES or "all"          default "float32"
    op         sum prod min max avg or "all"               default "sum"
    placement  out_of_place in_place                       default "out_of_place"
    buffers    symmetric private                           default "symmetric"
    protocol   auto signal packet                          default "auto"
    check      exact rounding wrap                         default "exact"
    nodes      node counts to run at; the caller leaves out those that do not divide the number
               of ranks                                    default: as launched
    backends   names of backends                           default: the caller's
    iters      timed calls per case, at least 1            default: the caller's
    warmup     calls before them, at least 0               default: the caller's

    [[sweep]]
    name = "decode"
    hidden = 8192
    batches = [1, 2, 4]
    dtype = "bfloat16"

Lists combine each with each, but `wrap` only with sums and products of integers. MPI and NCCL leave
open what becomes of an integer that overflows: they run `wrap` only where --check-mode wrap on the
command line asks for it, and are `skipped` elsewhere. A sweep is one `plan.Plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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

    A text without a folder and without a suffix is a name.

    Raises:
        CaseFileError: the file cannot be read, is not TOML, or holds an unknown key or a value
            that is not allowed; the message names file, sweep, key and what is allowed.

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
    """Return the path of the case file that `source` names, as `read_case_file` takes it.

    Raises:
        CaseFileError: it is a name, but of no shipped case file.
    """
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


class _SweepKeys:
    """The keys of one `[[sweep]]`, taken out with a check of type and value."""

    def __init__(self, table: dict[str, Any], where: str) -> None:
        self.table = table
        self.where = where

    def error(self, key: str, allowed: str) -> CaseFileError:
        value = f" {self.table[key]!r} is not allowed" if key in self.table else " is missing"
        return CaseFileError(f"{self.where}: {key}{value}; allowed: {allowed}")

    def text(self, key: str) -> str:
        value = self.table.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "a text that is not empty")
        return value

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        values = self._list(key) if key in self.table else default
        if not all(isinstance(value, str) and value for value in values):
            raise self.error(key, "a text or a list of texts")
        return tuple(values)

    def whole(self, key: str, least: int) -> int | None:
        if key not in self.table:
            return None
        if not _is_whole(self.table[key], least):
            raise self.error(key, f"a whole number, {least} and more")
        return int(self.table[key])

    def wholes(self, key: str) -> tuple[int, ...]:
        values = self._list(key) if key in self.table else ()
        if not all(_is_whole(value, 1) for value in values):
            raise self.error(key, "whole numbers, 1 and more")
        return tuple(dict.fromkeys(values))

    def number(self, key: str) -> float | None:
        value = self.table.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.error(key, "a number above 1")
        return value

    def sizes(self, key: str) -> tuple[int, ...]:
        return tuple(self._size(key, value) for value in self._list(key))

    def size(self, key: str) -> int:
        return self._size(key, self.table.get(key))

    def _size(self, key: str, value: Any) -> int:
        if _is_whole(value, 1):
            return int(value)
        if not isinstance(value, str):
            raise self.error(key, 'a size in bytes, such as 4096 or "128K"')
        return parse_size(value, option=key)

    def _list(self, key: str) -> list[Any]:
        value = self.table.get(key)
        values = value if isinstance(value, list) else [value]
        if not values or value is None:
            raise self.error(key, "a list that is not empty")
        return values


def _is_whole(value: Any, least: int) -> bool:
    # In Python True is an int; in TOML it is no number.
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass(frozen=True)
class _Sizes:
    """Sizes in bytes, or counts of elements; `key` is what a message about them names."""

    sizes: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    key: str = "sizes"


def _by_range(keys: _SweepKeys) -> _Sizes:
    step = keys.size("step") if "step" in keys.table else None
    bounds = keys.size("min"), keys.size("max")
    sizes = sizes_from_range(*bounds, keys.number("factor"), step, spell=str)
    return _Sizes(sizes, key="min")


def _by_layers(keys: _SweepKeys) -> _Sizes:
    for key in ("hidden", "batches"):
        if key not in keys.table:
            raise keys.error(key, "whole numbers, 1 and more; hidden and batches go together")
    hidden_sizes, batches = keys.wholes("hidden"), keys.wholes("batches")
    return _Sizes(counts=tuple(batch * hidden for hidden in hidden_sizes for batch in batches))


# Four ways to say the sizes: the keys of each, and who reads them.
_SIZE_KEYS: dict[tuple[str, ...], Callable[[_SweepKeys], _Sizes]] = {
    ("min", "max", "factor", "step"): _by_range,
    ("sizes",): lambda keys: _Sizes(keys.sizes("sizes")),
    ("counts",): lambda keys: _Sizes(counts=keys.wholes("counts")),
    ("hidden", "batches"): _by_layers,
}
_SETTINGS = ("nodes", "backends", "iters", "warmup")
_KEYS = ("name", *(key for way in _SIZE_KEYS for key in way), *AXES, *_SETTINGS)


def _sweep(table: Any, where: str) -> Sweep:
    if not isinstance(table, dict):
        raise CaseFileError(f"{where}: expected a table, [[sweep]]")
    unknown = [key for key in table if key not in _KEYS]
    # A misspelt key would leave its default in force, unseen.
    if unknown:
        raise CaseFileError(f"{where}: unknown key {unknown[0]!r}; allowed: {', '.join(_KEYS)}")
    keys = _SweepKeys(table, where)
    return Sweep(
        name=keys.text("name"),
        nodes=keys.wholes("nodes"),
        backends=keys.texts("backends", ()),
        iters=keys.whole("iters", 1),
        warmup=keys.whole("warmup", 0),
        plan=_plan(keys),
    )


def _plan(keys: _SweepKeys) -> Plan:
    ways = [way for way in _SIZE_KEYS if any(key in keys.table for key in way)]
    if len(ways) != 1:
        raise CaseFileError(
            f"{keys.where}: sizes given in {len(ways)} ways; allowed: exactly one of "
            f"min and max; sizes; counts; hidden and batches"
        )
    choices = [keys.texts(key, (axis.default,)) for key, axis in AXES.items()]
    try:
        given = _SIZE_KEYS[ways[0]](keys)
        return build_plan(given.sizes, *choices, counts=given.counts, spell=str, size_key=given.key)
    except CaseFileError:
        raise
    except UsageError as error:
        raise CaseFileError(f"{keys.where}: {error}") from error
