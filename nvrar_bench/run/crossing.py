"""What carries messages between machines, as one rank sees it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from nvrar_bench.inventory.network import interface

_FILES = Path("/proc/self/fd")
_VERBS = Path("/sys/class/infiniband_verbs")


def crossing() -> str | None:
    """Name the adapters and interfaces in use between machines; None where none is seen.

    They are read from the files that this process has open: no MPI library says by a call of the
    standard which transport it has chosen.
    """
    adapters = dict.fromkeys(name for one in _opened() if (name := _adapter(Path(one))))
    interfaces = dict.fromkeys(f"TCP over {one}" for one in _interfaces())
    return ", ".join([*adapters, *interfaces]) or None


def _opened() -> Iterator[str]:
    for file in os.listdir(_FILES):
        try:
            yield os.readlink(_FILES / file)
        except OSError:  # the listing's own
            continue


def _adapter(path: Path) -> str | None:
    if path.parent == Path("/dev") and path.name.startswith("cxi"):
        return f"Slingshot {path.name}"
    if path.name.startswith("uverbs"):
        try:
            return f"verbs of {(_VERBS / path.name / 'ibdev').read_text().strip()}"
        except OSError:
            return f"verbs of {path.name}"
    return None


def _interfaces() -> Iterator[str]:
    """The interfaces over which this process reaches another machine by TCP."""
    by_address = {
        each.address: name
        for name, addresses in psutil.net_if_addrs().items()
        for each in addresses
        if each.family == socket.AF_INET
    }
    for one in psutil.Process().net_connections("tcp4"):
        is_apart = one.status == psutil.CONN_ESTABLISHED and one.raddr.ip not in by_address
        if is_apart and one.laddr.ip in by_address:
            yield interface(by_address[one.laddr.ip])
