"""What a rank and the supervisors tell each other when something ends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from nvrar_bench.errors import LostRank, NvrarBenchError, TimedOut

# A notice travels as one datagram, so a long message is cut: JSON writes up to 12 bytes for each
# of its characters.
MAX_BYTES = 32768
_MAX_MESSAGE = 2000


class ReportedLoss(LostRank):
    """A rank ended, and it or its supervisor has told the user already: do not print this again."""


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
