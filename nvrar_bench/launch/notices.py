"""The messages of a rank and the supervisors of its host when something ends.

Each supervisor owns a datagram socket in the abstract namespace (unix(7)), which has no file to
leave behind. Its name is made of the launcher's daemon, the common parent of all ranks of a job on
a host, so that two jobs never meet. Where ranks have different parents (a shell between the
launcher and the rank) or no common namespace, a supervisor is alone and the launcher does what it
always does when a rank ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import struct
from collections.abc import Collection
from dataclasses import asdict, dataclass

from nvrar_bench.errors import LostRank, NvrarBenchError, TimedOut
from nvrar_bench.launch.processes import pid_namespace, start_time

# A notice travels as one datagram, so a long message is cut: JSON writes up to 12 bytes for each
# of its characters.
MAX_BYTES = 32768
_MAX_MESSAGE = 2000
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ReportedLoss(LostRank):
    """A rank ended, and it or its supervisor has printed why already: do not print this again."""


# The kinds of notice, and the error that each one becomes in the ranks that are still running.
#   killed     the rank is lost or failed; its supervisor printed the message
#   failed     the rank failed; its supervisor prints the message, unless another does that says it
#   timed_out  the rank gave up waiting; nobody has printed the message yet
#   finished   the rank exited by itself, with `exit_code`
ERRORS: dict[str, type[NvrarBenchError]] = {
    "killed": ReportedLoss,
    "failed": ReportedLoss,
    "timed_out": TimedOut,
    "finished": LostRank,
}


@dataclass(frozen=True)
class Notice:
    """One rank's end: which rank, how, with what exit code, and a message for the user."""

    kind: str
    rank: int
    exit_code: int
    message: str

    def encode(self) -> bytes:
        """Return the notice as one datagram of at most MAX_BYTES."""
        fields = asdict(self) | {"message": self.message[:_MAX_MESSAGE]}
        return json.dumps(fields).encode()

    @classmethod
    def decode(cls, data: bytes) -> Notice | None:
        """Return the notice in `data`, or None where it holds anything else."""
        try:
            fields = json.loads(data)
            notice = cls(
                str(fields["kind"]),
                int(fields["rank"]),
                int(fields["exit_code"]),
                str(fields["message"]),
            )
        except (ValueError, TypeError, KeyError):
            return None
        return notice if notice.kind in ERRORS else None

    def says_as(self, other: Notice) -> bool:
        """Whether both say the same, but for who says it."""
        mine, theirs = (each.message.replace(f"rank {each.rank} ", "") for each in (self, other))
        return mine == theirs

    def error(self) -> NvrarBenchError:
        """Return the error that this notice is to a rank that is still running."""
        # Only one rank may know of an unexpected error, so it has said so itself: __main__.py.
        has_spoken = self.kind == "finished" and self.exit_code == NvrarBenchError.exit_code
        return (ReportedLoss if has_spoken else ERRORS[self.kind])(self.message)


def job_name() -> str:
    """Return a name that the supervisors of one job on one host share, and no other job has."""
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
        self._job = job_name()
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
