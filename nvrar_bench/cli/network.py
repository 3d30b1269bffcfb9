"""`--network`: which one is meant, and its variables, set before a library reads them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from nvrar_bench import networks
from nvrar_bench.networks import AUTO, FOUND_BY, Network

if TYPE_CHECKING:
    from nvrar_bench.settings.settings import Settings


def chosen(asked: str) -> Network:
    """The network that is asked for; of `auto` the one that this machine has an adapter of.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    return _found() if asked == AUTO else networks.read(asked)


def with_network(settings: Settings) -> Settings:
    """Set the variables of the network in this process, and let the settings say so.

    To be called on every rank, before MPI, NCCL or NVSHMEM is loaded.
    """
    if settings.network is None:
        return settings
    from nvrar_bench.inventory import network as here
    from nvrar_bench.networks import apply

    is_auto, device = settings.network == AUTO, settings.device
    # Which device a run will take, found out without loading a library of CUDA.
    if device == "auto" and not here.has_driver():
        device = "cpu"
    applied = apply(chosen(settings.network), is_auto, device, os.environ, here.lacks)
    return replace(settings, applied=applied)


def _found() -> Network:
    """The fastest network that this machine has an adapter of, or else TCP."""
    from nvrar_bench.inventory.network import kinds

    here = kinds()
    usable = [kind for kind in FOUND_BY if any(one.status == "here" for one in here.get(kind, []))]
    return networks.of_adapter(usable[0] if usable else "none")
