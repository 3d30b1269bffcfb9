"""A rank that is late on purpose, as --late says: to see what a straggler costs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.values import require

_LATE = re.compile(r"([0-9]{1,6})=([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|ms|s)", re.ASCII)
_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


@dataclass(frozen=True)
class Late:
    """A rank, and how much later than the others it begins each call."""

    rank: int
    nanoseconds: int

    def require_among(self, ranks: int) -> None:
        """Refuse a rank that does not exist.

        Raises:
            UsageError: naming it and those that do.
        """
        require(self.rank < ranks, "--late", f"rank {self.rank}", f"ranks 0 to {ranks - 1}")

    def __str__(self) -> str:
        """As the record has it."""
        return f"{self.rank}={f'{self.nanoseconds / 1e3:.3f}'.rstrip('0').rstrip('.')}us"


def late_of(text: str | None, ranks: int | None, timeout: float) -> Late | None:
    """Read RANK=TIME; `ranks` is None where their number is not known yet.

    Raises:
        UsageError: naming the value and what is allowed.
    """
    if text is None:
        return None
    match = _LATE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--late {text!r}: allowed: RANK=TIME, a number with its unit ns, us, ms or s, such as "
            "1=50us"
        )
    late = Late(int(match[1]), round(float(match[2]) * _NANOSECONDS[match[3]]))
    is_short = 0 < late.nanoseconds < timeout * 1e9
    require(is_short, "--late", text, f"more than 0, less than the --timeout of {timeout:g} s")
    if ranks is not None:
        late.require_among(ranks)
    return late
