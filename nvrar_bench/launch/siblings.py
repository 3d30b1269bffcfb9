"""How the supervisors of the ranks on one host find and tell each other.

Each supervisor owns a datagram socket in the abstract namespace (unix(7)), which has no file to
leave behind. Its name is made of the launcher's daemon, the common parent of all ranks of a job on
a host, so that two jobs never meet. Where ranks have different parents (a shell between the
launcher and the rank) or no common namespace, a supervisor is alone and the launcher does what it
always does when a rank ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
from collections.abc import Collection

from nvrar_bench.launch.notices import MAX_BYTES, Notice
from nvrar_bench.launch.processes import pid_namespace, start_time

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


def _job() -> str:
    """Return a name that the ranks of one job on one host share, and no other job has."""
    parent = os.getppid()
    # A persistent daemon of PRRTE is the parent of several jobs, which differ in their namespace.
    namespace = os.environ.get("PMIX_NAMESPACE", "")
    facts = f"{os.getuid()} {pid_namespace()} {parent} {start_time(parent)} {namespace}"
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


class Siblings:
    """The other supervisors of this job on this host."""

    def __init__(self, rank: int, ranks: int) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._job = _job()
        self._others = [other for other in range(ranks) if other != rank]
        with contextlib.suppress(OSError):  # without a name it hears nothing: alone
            self.socket.bind(self._address(rank))

    def _address(self, rank: int) -> str:
        return f"\0nvrar-bench-{self._job}-{rank}"

    def tell(self, notice: Notice, told: Collection[int] = ()) -> set[int]:
        """Send `notice` to every sibling not yet `told`; return the ranks that got it now."""
        data = notice.encode()
        return {other for other in self._others if other not in told and self._send(data, other)}

    def _send(self, data: bytes, other: int) -> bool:
        try:
            self.socket.sendto(data, self._address(other))
        except OSError:
            return False
        return True

    def hear(self) -> list[Notice]:
        """Return the notices that have arrived."""
        notices = []
        while data := self._receive():
            notice = Notice.decode(data)
            if notice is not None:
                notices.append(notice)
        return notices

    def _receive(self) -> bytes:
        try:
            data, extra, _, _ = self.socket.recvmsg(MAX_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError:
            return b""
        # Abstract names are open to every user of the host; only this user's supervisors count.
        senders = [_CREDENTIALS.unpack(each[2])[1] for each in extra]
        return data if os.getuid() in senders else b"{}"
