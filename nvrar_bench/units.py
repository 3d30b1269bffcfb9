"""Sizes, times and rates as people write them. Inside, everything is bytes and seconds.

One K is 1024 bytes, as in nccl-tests; one GB/s is 1e9 bytes per second, as networks are sold.
"""

from __future__ import annotations

import re
from fractions import Fraction

from nvrar_bench.errors import UsageError

MICROSECOND = 1e-6
GIGABYTE = 1e9
MAX_BYTES = 2**63 - 1

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
# The digits are bounded so that no input, however long, costs more than one short conversion.
# ASCII, because the Kelvin sign is a "k" to a case-blind Unicode pattern.
_SIZE = re.compile(
    r"([0-9]{1,19})(\.[0-9]{1,20})?(?:([KMGT])(?:I?B)?|B)?", re.IGNORECASE | re.ASCII
)
_ALLOWED = "a whole number of bytes such as 4096, 128K, 1.5M or 2GiB (K, M, G, T: powers of 1024)"


def parse_size(text: str, *, option: str = "size") -> int:
    """Read a size in bytes: `"128K"` -> 131072, `"1.5M"` -> 1572864, `"100"` -> 100.

    Suffixes K, M, G and T are powers of 1024, in either case, with an optional `B` or `iB`. What is
    not a size, not a whole number of bytes, or 2**63 and more is a UsageError about `option`.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is not a size; allowed: {_ALLOWED}")
    whole, fraction, suffix = match.groups()
    size = Fraction(whole + (fraction or "")) * 1024 ** _POWERS[(suffix or "").upper()]
    if size.denominator != 1 or size > MAX_BYTES:
        raise UsageError(f"{option} {text!r} is not below 2**63 whole bytes; allowed: {_ALLOWED}")
    return int(size)


def format_size(size: int) -> str:
    """Write a size in bytes in the largest unit that shows it exactly, at most in quarters.

    `parse_size` reads the text back as the same number: 131072 -> `"128K"`, 1572864 -> `"1.5M"`,
    1000 -> `"1000"`.
    """
    for suffix, power in reversed(_POWERS.items()):
        unit = 1024**power
        if size >= unit and (size * 4) % unit == 0:
            quarters = ("", ".25", ".5", ".75")[size * 4 // unit % 4]
            return f"{size // unit}{quarters}{suffix}"
    return str(size)


def gibibytes(size: int) -> str:
    """Write a size in bytes as `79.6 GiB`, roughly."""
    return f"{size / 1024**3:.1f} GiB"


def format_latency(seconds: float) -> str:
    """Write a time in microseconds, without the unit."""
    return _digits(seconds / MICROSECOND)


def format_micros(microseconds: float) -> str:
    """Write a time of the record, as `format_latency` does."""
    return format_latency(microseconds * MICROSECOND)


def format_bandwidth(bytes_per_second: float) -> str:
    """Write a rate in GB/s (1e9 bytes per second), without the unit."""
    return _digits(bytes_per_second / GIGABYTE)


def format_ratio(ratio: float) -> str:
    """Write a speed-up with two decimals and an `x`: 1.9 -> `"1.90x"`."""
    return f"{ratio:.2f}x"


def _digits(value: float) -> str:
    """One decimal from 100 up, two below, and four where two would show next to nothing."""
    if value >= 99.995:
        return f"{value:.1f}"
    return f"{value:.4f}" if 0 < value < 0.1 else f"{value:.2f}"
