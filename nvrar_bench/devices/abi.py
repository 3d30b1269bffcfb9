"""C structs of kernels/ that Python fills or reads: a failed wait, the start gate, a timed call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

U64 = ctypes.c_uint64
POINTER = ctypes.c_void_p


class CFailure(ctypes.Structure):
    """struct Failure: the first wait that passed its deadline; code 0 if none did."""

    _fields_ = [
        (name, U64) for name in ("code", "phase", "step", "peer", "chunk", "expected", "seen")
    ]


class CGate(ctypes.Structure):
    """struct Gate of kernels/fabric/host_gate.cuh."""

    _fields_ = [
        ("flags", POINTER),
        ("ranks", U64),
        ("rank", U64),
        ("round", U64),
        ("spin", U64),
        ("timeout_ns", U64),
        ("failure", ctypes.POINTER(CFailure)),
        ("by_clock", U64),
        ("lead_ns", U64),
        ("ahead_ns", U64),
        ("agreed_ns", U64),
        ("left_ns", U64),
    ]


class CCall(ctypes.Structure):
    """struct Call of kernels/fabric/host_gate.cuh."""

    _fields_ = [
        ("function", U64),
        ("arguments", U64 * 6),
        ("calls", U64),
        ("failure", POINTER),
        ("result", U64),
        ("started_ns", U64),
        ("ended_ns", U64),
    ]


def pointer_table(addresses: Sequence[int]) -> ctypes.Array[ctypes.c_void_p]:
    """An array of pointers, as `void* const*`; the caller keeps it alive."""
    return (POINTER * len(addresses))(*addresses)
