"""What the text of an option means, and refusing what is not allowed.

That is a UsageError which names the option, the value and what is allowed.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from nvrar_bench.errors import UsageError

# Written out, since float() takes nan, inf and 1_0 as well.
_PART = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})( ?%)?", re.ASCII)
_LATE = re.compile(r"([0-9]{1,6})=([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|ms|s)", re.ASCII)
_NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def command(option: str, text: str | None) -> tuple[str, ...]:
    """Split a command into words, as a shell does; nothing given is an empty tuple."""
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}; allowed: a command") from None
    program = words[0] if words else ""
    is_there = shutil.which(program) is not None
    require(is_there, option, repr(text), f"a command; {program!r} is no program on PATH")
    return words


def names(text: str | None) -> tuple[str, ...]:
    """Split a LIST; nothing given is an empty tuple."""
    return () if text is None else tuple(name.strip() for name in text.split(","))


def choices(option: str, text: str | None, allowed: Sequence[str]) -> tuple[str, ...]:
    """Read a LIST of some of `allowed`; nothing given is an empty tuple."""
    found = tuple(dict.fromkeys(names(text)))
    for name in found:
        require(name in allowed, option, repr(name), ", ".join(allowed))
    return found


def wholes(option: str, text: str | None, least: int, most: int) -> tuple[int, ...]:
    """Read a LIST of whole numbers; nothing given is an empty tuple."""
    found = []
    for word in names(text):
        # int() would take signs, blanks, underscores and digits of other scripts.
        is_whole = re.fullmatch("[0-9]{1,9}", word, re.ASCII) is not None
        allowed = f"whole numbers from {least} to {most}, separated by commas"
        require(is_whole and least <= int(word) <= most, option, repr(word), allowed)
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def require(condition: bool, option: str, value: object, allowed: str) -> None:
    """Refuse a value."""
    if not condition:
        raise UsageError(f"{option} {value}: allowed: {allowed}")


def require_within(option: str, value: int | None, least: int, most: int) -> None:
    """Refuse a number that is not from `least` to `most`; None is not given."""
    if value is not None:
        require(least <= value <= most, option, value, f"{least} to {most}")


def require_seconds(option: str, seconds: float) -> None:
    """Refuse a time that is none, or longer than a day."""
    allowed = "more than 0, at most 86400 seconds"
    require(0 < seconds <= 86400, option, f"{seconds:g}", allowed)


def require_divisor(nodes: int | None, ranks: int, what: str) -> None:
    """Refuse a number of --nodes that does not divide the ranks, which messages call `what`."""
    if nodes:
        fitting = ", ".join(str(n) for n in range(1, ranks + 1) if ranks % n == 0)
        require(ranks % nodes == 0, "--nodes", nodes, f"what divides {ranks} {what}: {fitting}")


def part(option: str, text: str, least: float = 0.0, most: float = 1.0) -> float:
    """Read the value of `option`: `5%`, `5 %` and `0.05` are the same part."""
    match = _PART.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    allowed = f"{least * 100:g}% to {most * 100:g}%, or {least:g} to {most:g}"
    require(least <= value <= most, option, repr(text), allowed)
    return value


@dataclass(frozen=True)
class Late:
    """A rank that is late on purpose, and how much later than the others it begins each call."""

    rank: int
    nanoseconds: int

    def require_among(self, ranks: int) -> None:
        """Refuse a rank that does not exist."""
        require(self.rank < ranks, "--late", f"rank {self.rank}", f"ranks 0 to {ranks - 1}")

    def __str__(self) -> str:
        return f"{self.rank}={f'{self.nanoseconds / 1e3:.3f}'.rstrip('0').rstrip('.')}us"


def late_of(text: str | None, ranks: int | None, timeout: float) -> Late | None:
    """Read RANK=TIME of --late; `ranks` is None where their number is not known yet."""
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
