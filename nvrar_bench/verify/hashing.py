"""Reproducible pseudo-random integers, one per (seed, purpose, rank, index).

A counter-based generator: any block of any rank's data can be made alone, in any order, and is the
same on every machine because it is integer arithmetic. The mixer is the finaliser of SplitMix64
(Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

HostArray = npt.NDArray[Any]
Words = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_WORD = 2**64


def mix(words: Words) -> Words:
    """Scramble each 64-bit word; a bijection, so distinct words stay distinct."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed


def draw(seed: int, purpose: int, rank: int, index: Words) -> Words:
    """Return one 64-bit word per element of `index`.

    `purpose` keeps streams apart that serve one seed and rank. All arguments are taken modulo
    2**64.
    """
    key: Words = np.zeros(1, np.uint64)
    for part in (seed, purpose, rank):
        key = mix(key + word(part) + _GOLDEN)
    return mix(mix(index * _GOLDEN + key) + _GOLDEN)


def below(words: Words, bound: int) -> Words:
    """Return integers in [0, bound), one per word; the bias is below bound / 2**64."""
    remainders: Words = words % np.uint64(bound)
    return remainders


def word(value: int) -> np.uint64:
    """Return `value` modulo 2**64: the two's complement of a negative one."""
    wrapped: np.uint64 = np.uint64(value % _WORD)
    return wrapped


def floor_power_of_two(value: int) -> int:
    """Return the largest power of two that is at most `value` (at least 1)."""
    return 1 << (value.bit_length() - 1)


def negate_where(flags: Words, values: Words) -> Words:
    """Return -value (two's complement) where the flag is 1, the value where it is 0."""
    ones = np.uint64(0) - flags
    signed: Words = (values ^ ones) - ones
    return signed
