"""A network as a TOML file: the settings that libraries need on it, or are faster with.

    summary = "what it is"              shown by --network auto and env
    adapter = "slingshot"               what --network auto finds it by; "none": by nothing
    needs = ["locked memory"]           what `env --network` checks: inventory/network.py

    [[setting]]
    variable = "NCCL_CROSS_NIC"
    value = "1"
    for = ["NCCL"]                      who takes part in a run: NVSHMEM, NCCL, MPI; default: all
    needed = true                       without it nothing runs; default: it is faster with it
    needs = ["IBGDA"]                   set it only where the machine has this
    reason = "why"
    source = "who says so"

Only `variable` and `value` must be there. A single text may stand where a list of one is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.errors import UsageError
from nvrar_bench.files import data_dir, load_toml

AUTO = "auto"
LIBRARIES = ("NVSHMEM", "NCCL", "MPI")
ON_DEVICE = {"cpu": ("MPI",)}  # that take part in a run; on other devices all do
# In the order in which --network auto looks; a machine may have several.
FOUND_BY = ("slingshot", "infiniband", "roce")
ADAPTERS = (*FOUND_BY, "none")
# What a machine may have; inventory/network.py looks.
NEEDS = (
    "Slingshot adapter", "InfiniBand adapter", "RoCE adapter", "network interface",
    "locked memory", "libfabric with cxi",
    "NVSHMEM over libfabric", "NVSHMEM over InfiniBand", "NCCL's libfabric plugin",
    "GPUDirect RDMA", "IBGDA",
)  # fmt: skip
# Of libraries that a rank starts. What mpirun reads itself is read before there is a rank.
PREFIXES = ("NVSHMEM_", "NCCL_", "FI_", "UCX_", "OMPI_MCA_", "MPICH_", "I_MPI_", "MV2_", "CUDA_")
_BEFORE_RANKS = ("PRTE_MCA_", "PMIX_MCA_", "HYDRA_", "I_MPI_HYDRA_", "SLURM_")
_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_VALUE = re.compile(r"[ -~]{1,1000}", re.ASCII)


@dataclass(frozen=True)
class Setting:
    """One environment variable; `for_` are the libraries that want it."""

    variable: str
    value: str
    for_: tuple[str, ...] = LIBRARIES
    needed: bool = False
    needs: tuple[str, ...] = ()
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class Network:
    """A network, by the name or the path that the user gave."""

    name: str
    summary: str
    adapter: str
    needs: tuple[str, ...]
    settings: tuple[Setting, ...]


def shipped() -> tuple[str, ...]:
    """Names of the networks that come with the package, sorted."""
    return tuple(sorted(path.stem for path in data_dir("networks").glob("*.toml")))


def of_adapter(adapter: str) -> Network:
    """The shipped network that has such an adapter."""
    return next(one for one in map(read, shipped()) if one.adapter == adapter)


def read(source: str) -> Network:
    """Read the network `source`, the name of a shipped one or the path of a file.

    A text without a folder and without a suffix is a name.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    path = file_of(source)
    if path is not None:
        return _network(source, path)
    if source not in shipped():
        names = ", ".join((AUTO, *shipped()))
        raise UsageError(
            f"--network {source!r}: allowed: {names}, or a file such as ./{source or 'mine'}.toml"
        )
    return _network(source, data_dir("networks") / f"{source}.toml")


def require_known(asked: str) -> None:
    """Check a value of --network.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    if asked != AUTO:
        read(asked)


def file_of(source: str) -> Path | None:
    """The user's file that `source` is the path of; None: it is a name."""
    path = Path(source)
    return path if path.suffix or path.name != source else None


def _network(name: str, path: Path) -> Network:
    try:
        keys = _Keys(load_toml(path), str(path))
        keys.require_known("summary", "adapter", "needs", "setting")
        settings = tuple(
            _setting(_Keys(one, f"{path}: setting {number}"))
            for number, one in enumerate(keys.tables("setting"), 1)
        )
        _require_once(settings, path)
        return Network(
            name,
            keys.text("summary", name),
            keys.one_of("adapter", ADAPTERS, "none"),
            keys.all_of("needs", NEEDS, ()),
            settings,
        )
    except UsageError as error:
        raise UsageError(f"--network {error}") from None


def _setting(keys: _Keys) -> Setting:
    keys.require_known("variable", "value", "for", "needed", "needs", "reason", "source")
    return Setting(
        keys.variable("variable"),
        keys.value("value"),
        keys.all_of("for", LIBRARIES, LIBRARIES),
        keys.flag("needed"),
        keys.all_of("needs", NEEDS, ()),
        keys.text("reason", ""),
        keys.text("source", ""),
    )


def _require_once(settings: tuple[Setting, ...], path: Path) -> None:
    names = [one.variable for one in settings]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UsageError(f"{path}: setting {number + 1}: variable {name!r} is there twice")


class _Keys:
    """The keys of one table, taken out with a check of type and value."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, dict):
            raise UsageError(f"{where}: expected a table, [[setting]]")
        self._table = table
        self._where = where

    def error(self, key: str, allowed: str) -> UsageError:
        value = f" {self._table[key]!r} is not allowed" if key in self._table else " is missing"
        return UsageError(f"{self._where}: {key}{value}; allowed: {allowed}")

    def require_known(self, *allowed: str) -> None:
        for key in self._table:
            if key not in allowed:
                raise UsageError(
                    f"{self._where}: unknown key {key!r}; allowed: {', '.join(allowed)}"
                )

    def tables(self, key: str) -> list[Any]:
        found = self._table.get(key)
        if not isinstance(found, list) or not found:
            raise self.error(key, "one or more [[setting]] tables")
        return found

    def text(self, key: str, default: str) -> str:
        value = self._table.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "a text")
        return value

    def flag(self, key: str) -> bool:
        value = self._table.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "true, false")
        return value

    def one_of(self, key: str, names: tuple[str, ...], default: str) -> str:
        value = self._table.get(key, default)
        if value not in names:
            raise self.error(key, ", ".join(names))
        return str(value)

    def all_of(self, key: str, names: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._table.get(key, default)
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or not all(one in names for one in values):
            raise self.error(key, ", ".join(names))
        return tuple(values)

    def variable(self, key: str) -> str:
        value = self._table.get(key)
        allowed = f"a variable that begins with {', '.join(PREFIXES)}"
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise self.error(key, allowed)
        if value.startswith(_BEFORE_RANKS):
            raise self.error(
                key,
                f"{allowed}; this one is read by the launcher, before any rank starts: export it "
                "in the shell",
            )
        if not value.startswith(PREFIXES):
            raise self.error(key, allowed)
        return value

    def value(self, key: str) -> str:
        value = self._table.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise self.error(key, "a text of 1 to 1000 printable characters, or a whole number")
        return value
