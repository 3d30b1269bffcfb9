"""What an option's text means: numbers, lists, parts, paths; and refusing what is not allowed."""

from __future__ import annotations

import re
import shlex
import shutil

from nvrar_bench.errors import UsageError

# Written out, since float() takes nan, inf and 1_0 as well.
_PART = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})( ?%)?", re.ASCII)


def command(option: str, text: str | None) -> tuple[str, ...]:
    """Split a command into words, as a shell does; nothing given is an empty tuple.

    Raises:
        UsageError: it is none, or its program is not on PATH.
    """
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


def wholes(option: str, text: str | None, least: int, most: int) -> tuple[int, ...]:
    """Read a LIST of whole numbers; nothing given is an empty tuple.

    Raises:
        UsageError: one is none, or not from `least` to `most`.
    """
    found = []
    for word in names(text):
        # int() would take signs, blanks, underscores and digits of other scripts.
        is_whole = re.fullmatch("[0-9]{1,9}", word, re.ASCII) is not None
        allowed = f"whole numbers from {least} to {most}, separated by commas"
        require(is_whole and least <= int(word) <= most, option, repr(word), allowed)
        found.append(int(word))
    return tuple(dict.fromkeys(found))


def require(condition: bool, option: str, value: object, allowed: str) -> None:
    """Refuse a value.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    if not condition:
        raise UsageError(f"{option} {value}: allowed: {allowed}")


def part(option: str, text: str, least: float = 0.0, most: float = 1.0) -> float:
    """Read the value of `option`: `5%`, `5 %` and `0.05` are the same part.

    Raises:
        UsageError: it is neither, or not from `least` to `most`.
    """
    match = _PART.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    allowed = f"{least * 100:g}% to {most * 100:g}%, or {least:g} to {most:g}"
    require(least <= value <= most, option, repr(text), allowed)
    return value
