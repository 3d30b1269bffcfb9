"""A network as a TOML file: the settings that libraries need on it, or are faster with.

They are set never against the user, and the record says who has set what.

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
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from msgspec import field

from nvrar_bench import variables
from nvrar_bench.documents import JsonObject, checked
from nvrar_bench.errors import UsageError
from nvrar_bench.files import data_dir, load_toml

AUTO = "auto"
Library = Literal["NVSHMEM", "NCCL", "MPI"]
LIBRARIES: tuple[Library, ...] = get_args(Library)
ON_DEVICE = {"cpu": ("MPI",)}  # that take part in a run; on other devices all do
Adapter = Literal["slingshot", "infiniband", "roce", "none"]
ADAPTERS: tuple[Adapter, ...] = get_args(Adapter)
FOUND_BY = ADAPTERS[:-1]  # in the order in which --network auto looks; a machine may have several
# What a machine may have; inventory/network.py looks.
Need = Literal[
    "Slingshot adapter",
    "InfiniBand adapter",
    "RoCE adapter",
    "network interface",
    "locked memory",
    "libfabric with cxi",
    "NVSHMEM over libfabric",
    "NVSHMEM over InfiniBand",
    "NCCL's libfabric plugin",
    "GPUDirect RDMA",
    "IBGDA",
]
# Of libraries that a rank starts. What mpirun reads itself is read before there is a rank.
PREFIXES = ("NVSHMEM_", "NCCL_", "FI_", "UCX_", "OMPI_MCA_", "MPICH_", "I_MPI_", "MV2_", "CUDA_")
_BEFORE_RANKS = ("PRTE_MCA_", "PMIX_MCA_", "HYDRA_", "I_MPI_HYDRA_", "SLURM_")
_NAME = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_VALUE = re.compile(r"[ -~]{1,1000}", re.ASCII)
_VARIABLES = f"a variable that begins with {', '.join(PREFIXES)}"
_VALUES = "a text of 1 to 1000 printable characters, or a whole number"
_EXPORT_IT = "; this one is read by the launcher, before any rank starts: export it in the shell"


class Setting(JsonObject, frozen=True):
    """One environment variable; `for_` are the libraries that want it."""

    variable: str
    value: str
    for_: tuple[Library, ...] = field(default=LIBRARIES, name="for")
    needed: bool = False
    needs: tuple[Need, ...] = ()
    reason: str = ""
    source: str = ""


class _File(JsonObject, frozen=True):
    """What the file of a network says."""

    setting: tuple[Setting, ...]
    summary: str
    adapter: Adapter = "none"
    needs: tuple[Need, ...] = ()


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

    A text without a folder and without a suffix is a name. UsageError where it is none, or no file.
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
    """Refuse a value of --network that names none (UsageError)."""
    if asked != AUTO:
        read(asked)


def file_of(source: str) -> Path | None:
    """The user's file that `source` is the path of; None: it is a name."""
    path = Path(source)
    return path if path.suffix or path.name != source else None


def _network(name: str, path: Path) -> Network:
    try:
        table = {"summary": name, **_spelled(load_toml(path))}
        tables = table.get("setting")
        if isinstance(tables, list):
            table["setting"] = [_spelled(one) if isinstance(one, dict) else one for one in tables]
        found = checked(_File, table, str(path))
        for problem in _problems(found.setting):
            raise UsageError(f"{path}: {problem}")
    except UsageError as error:
        raise UsageError(f"--network {error}") from None
    return Network(name, found.summary, found.adapter, found.needs, found.setting)


def _spelled(table: dict[str, Any]) -> dict[str, Any]:
    """Take a text for a list of one, and a number for its text."""
    lists = {key: [table[key]] for key in ("for", "needs") if isinstance(table.get(key), str)}
    # In Python True is an int; in TOML it is no number.
    texts = {"value": str(table["value"])} if type(table.get("value")) is int else {}
    return {**table, **lists, **texts}


def _problems(settings: Sequence[Setting]) -> Iterator[str]:
    if not settings:
        yield "setting is empty; allowed: one or more [[setting]] tables"
    names = [one.variable for one in settings]
    for i, (name, one) in enumerate(zip(names, settings, strict=True)):
        is_late = name.startswith(_BEFORE_RANKS)
        if is_late or not (name.startswith(PREFIXES) and _NAME.fullmatch(name)):
            allowed = f"{_VARIABLES}{_EXPORT_IT if is_late else ''}"
            yield f"setting[{i}].variable is {name!r}; allowed: {allowed}"
        if name in names[:i]:
            yield f"setting[{i}].variable is {name!r}; allowed: each variable once"
        if not _VALUE.fullmatch(one.value):
            yield f"setting[{i}].value is {one.value!r}; allowed: {_VALUES}"


USER = "user"
# Beside the table: what else of the user steers a library's way through the network.
_OF_USER = ("NVSHMEM_", "NCCL_", "FI_", "UCX_")


@dataclass(frozen=True)
class _Files:
    """The files of one library: lines `key = value`; `#` begins a comment."""

    prefix: str  # of its variables
    named_by: str  # the variable that names another file in place of the first
    paths: tuple[str, ...]
    in_file: str = ""  # what a variable's name begins with in the file


# A variable of the environment would override these files: what they set counts as the user's.
_LIBRARIES = (
    _Files("NCCL_", "NCCL_CONF_FILE", ("~/.nccl.conf", "/etc/nccl.conf"), "NCCL_"),
    _Files("NVSHMEM_", "NVSHMEM_CONF_FILE", ("~/.nvshmem.conf", "/etc/nvshmem.conf"), "NVSHMEM_"),
    _Files("OMPI_MCA_", "OMPI_MCA_mca_base_param_files", ("~/.openmpi/mca-params.conf",)),
)


@dataclass(frozen=True)
class Applied:
    """What was done about a network in this process."""

    name: str  # of the network
    set_by: Mapping[str, str]  # who has set a variable, by its name: `user` or `network NAME`
    values: Mapping[str, str]  # of each of these variables
    left_out: Mapping[str, str]  # why a variable of the table was not set

    def to_json(self) -> dict[str, Any]:
        """For the environment of the record; what looks like a secret is left out."""
        return {
            "network": self.name,
            "network_settings": self._counted(),
            "network_variables": {
                name: {"value": value, "set_by": self.set_by[name]}
                for name, value in variables.chosen(self.values).items()
            },
            "network_left_out": dict(self.left_out),
        }

    def must_agree(self) -> dict[str, Any]:
        """What must be the same on all ranks; a user may set other values on each."""
        ours = {name: value for name, value in self.values.items() if self.set_by[name] != USER}
        return {
            "the network of --network": self.name,
            "the variables that --network sets": dict(sorted(ours.items())),
        }

    def _counted(self) -> str:
        """How many variables of the table were set, and how many were not."""
        ours = sum(1 for who in self.set_by.values() if who != USER)
        kept = sum(1 for reason in self.left_out.values() if reason == _KEPT)
        others = len(self.left_out) - kept
        return f"{ours} set, {kept} kept as the user set them, {others} left out"


_KEPT = "set by the user"
Lacks = Callable[[str], str | None]  # why the machine has no need of this name; None: it has


def apply(
    network: Network, auto: bool, device: str, environment: MutableMapping[str, str], lacks: Lacks
) -> Applied:
    """Set what `network` asks for in `environment`; `lacks` says why the machine has no need.

    Of a network that `auto` found, only what is needed to run at all is set.
    """
    own = {**_own_settings(environment), **environment}
    reasons = {one.variable: _against(one, auto, device, own, lacks) for one in network.settings}
    wanted = {one.variable: one.value for one in network.settings if not reasons[one.variable]}
    environment.update(wanted)
    users = {
        name: value for name, value in own.items() if name in reasons or name.startswith(_OF_USER)
    }
    set_by = {**dict.fromkeys(users, USER), **dict.fromkeys(wanted, f"network {network.name}")}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    return Applied(network.name, set_by, {**users, **wanted}, left_out)


def _against(
    setting: Setting, auto: bool, device: str, own: Mapping[str, str], lacks: Lacks
) -> str | None:
    """Why a setting is not made; None if it is."""
    if setting.variable in own:
        return _KEPT
    if auto and not setting.needed:
        return "auto sets only what is needed to run"
    if not set(setting.for_) & set(ON_DEVICE.get(device, LIBRARIES)):
        return f"no library of the {device} device wants it"
    return next(filter(None, map(lacks, setting.needs)), None)


def _own_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What such files set, by variable; a file that cannot be read sets nothing."""
    found: dict[str, str] = {}
    for library in _LIBRARIES:
        for path in _paths(library, environment):
            for key, value in _lines(path):
                if key.startswith(library.in_file):
                    found.setdefault(f"{library.prefix}{key.removeprefix(library.in_file)}", value)
    return found


def _paths(library: _Files, environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME", "/nonexistent"))
    first, *others = library.paths
    named = environment.get(library.named_by, first)
    return [
        home / text.removeprefix("~/") if text.startswith("~/") else Path(text)
        for text in (named, *others)
    ]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if equals and key.strip():
            yield key.strip(), value.strip()
