"""Setting what a network needs, never against the user; and who has set what, for the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvrar_bench import variables
from nvrar_bench.networks.table import LIBRARIES, ON_DEVICE, Network, Setting

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
    """What was done about a network in this process.

    Attributes:
        name: of the network.
        set_by: who has set a variable, by its name: `user` or `network NAME`.
        values: what each of these variables holds.
        left_out: why a variable of the table was not set.
    """

    name: str
    set_by: Mapping[str, str]
    values: Mapping[str, str]
    left_out: Mapping[str, str]

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
