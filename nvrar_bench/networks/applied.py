"""Setting what a network needs, never against the user; and who has set what, for the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from nvrar_bench import variables
from nvrar_bench.networks import own_files
from nvrar_bench.networks.names import LIBRARIES, ON_DEVICE
from nvrar_bench.networks.table import Network, Setting

USER = "user"
# Beside the table: what else of the user steers a library's way through the network.
_OF_USER = ("NVSHMEM_", "NCCL_", "FI_", "UCX_")


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
            "network_settings": self._told(),
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

    def _told(self) -> str:
        """How many variables of the table were set, and how many were not."""
        ours = sum(1 for who in self.set_by.values() if who != USER)
        kept = sum(1 for reason in self.left_out.values() if reason == _KEPT)
        others = len(self.left_out) - kept
        return f"{ours} set, {kept} kept as the user set them, {others} left out"


_KEPT = "set by the user"


def apply(
    network: Network, auto: bool, device: str, environment: MutableMapping[str, str],
    lacks: Callable[[str], str | None],
) -> Applied:  # fmt: skip
    """Set what `network` asks for in `environment`; `lacks` says why the machine has no need.

    Of a network that `auto` found, only what is needed to run at all is set.
    """
    own = {**own_files.read(environment), **environment}
    reasons = {one.variable: _against(one, auto, device, own, lacks) for one in network.settings}
    wanted = {one.variable: one.value for one in network.settings if not reasons[one.variable]}
    environment.update(wanted)
    users = {
        name: value for name, value in own.items() if name in reasons or name.startswith(_OF_USER)
    }
    return Applied(
        network.name,
        {**dict.fromkeys(users, USER), **dict.fromkeys(wanted, f"network {network.name}")},
        {**users, **wanted},
        {name: reason for name, reason in reasons.items() if reason},
    )  # fmt: skip


def _against(
    setting: Setting, auto: bool, device: str, own: Mapping[str, str],
    lacks: Callable[[str], str | None],
) -> str | None:  # fmt: skip
    """Why a setting is not made; None if it is."""
    if setting.variable in own:
        return _KEPT
    if auto and not setting.needed:
        return "auto sets only what is needed to run"
    if not set(setting.for_) & set(ON_DEVICE.get(device, LIBRARIES)):
        return f"no library of the {device} device wants it"
    return next(filter(None, map(lacks, setting.needs)), None)
