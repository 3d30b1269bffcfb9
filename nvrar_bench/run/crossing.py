"""What carries messages to other machines, by the files that this process has open.

No MPI library says by a call of the standard which transport it has chosen.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from nvrar_bench.inventory.network import interface

_FILES = Path("/proc/self/fd")
_TCP = Path("/proc/self/net/tcp")
_VERBS = Path("/sys/class/infiniband_verbs")
_ESTABLISHED = "01"
_ASK_ADDRESS = 0x8915  # SIOCGIFADDR


def crossing() -> str | None:
    """Name the adapters and interfaces in use between machines; None where none is seen."""
    opened = list(_opened())
    adapters = dict.fromkeys(name for one in opened if (name := _adapter(Path(one))))
    sockets = {one[len("socket:[") : -1] for one in opened if one.startswith("socket:[")}
    interfaces = dict.fromkeys(f"TCP over {one}" for one in _interfaces(sockets))
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


def _interfaces(sockets: set[str]) -> Iterator[str]:
    """The interfaces over which `sockets`, by their numbers, reach another machine."""
    by_address = {address: name for _, name in socket.if_nameindex() if (address := _address(name))}
    for line in _TCP.read_text().splitlines()[1:]:
        words = line.split()
        here, there = _decoded(words[1]), _decoded(words[2])
        is_ours = words[3] == _ESTABLISHED and words[9] in sockets
        if is_ours and there not in by_address and here in by_address:
            yield interface(by_address[here])


def _address(name: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answer = fcntl.ioctl(asking, _ASK_ADDRESS, struct.pack("256s", name.encode()))
        except OSError:
            return None  # it has none
    return socket.inet_ntoa(answer[20:24])


def _decoded(place: str) -> str:
    """The address in `0100007F:1F90`, where the kernel shows it as a number of this machine."""
    return socket.inet_ntoa(int(place.partition(":")[0], 16).to_bytes(4, sys.byteorder))
