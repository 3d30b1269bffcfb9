"""C structs of kernels/ that Python fills or reads, and their check by the compiler.

A twin is named as its struct, behind a C. Whoever builds code that takes a struct adds
`layout_checks` of its twin to the source, so code that lays a field elsewhere does not compile.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

U32, U64 = ctypes.c_uint32, ctypes.c_uint64
POINTER = ctypes.c_void_p

MAX_STEPS = 16
MAX_VIRTUAL_RANKS = 16


def layout_checks(*twins: type[ctypes.Structure]) -> str:
    """Assertions, in C++, that each struct has the size of its twin and its fields lie as there."""
    return "".join(line for twin in twins for line in _checks_of(twin))


def _checks_of(twin: type[ctypes.Structure]) -> Iterator[str]:
    name = twin.__name__.removeprefix("C")
    differs = f"struct {name} differs from its twin in nvrar_bench/toolchain/structs.py"
    yield f'static_assert(sizeof(nvrar::{name}) == {ctypes.sizeof(twin)}, "{differs}");\n'
    yield "#if __has_builtin(__builtin_offsetof)\n"  # NVRTC 13.0 does not have it
    for field, *_ in twin._fields_:
        offset = f"__builtin_offsetof(nvrar::{name}, {field})"
        yield f'static_assert({offset} == {getattr(twin, field).offset}, "{differs}");\n'
    yield "#endif\n"


def _each(kind: Any, names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names.split()]


_words, _half_words, _pointers = (partial(_each, kind) for kind in (U64, U32, POINTER))


# ---- of the all-reduce: arguments.cuh, fabric/loopback.cuh, fabric/hosts.cuh ---------------------


class CFailure(ctypes.Structure):
    """The first wait that passed its deadline; code 0 if none did."""

    _fields_ = _words("code phase step peer chunk expected seen")


class CLayout(ctypes.Structure):
    """Where things lie in the staging memory of a rank, in bytes."""

    _fields_ = [
        *_words("parity_bytes inbox outbox partials slots fold unfold outgoing entry_flags"),
        *_words("exit_flags arrival_flags"),
        *_half_words("region_bytes chunks_per_region"),
    ]


class CStep(ctypes.Structure):
    """One step of the exchange between nodes."""

    _fields_ = _half_words("radix stride digit first_slot first_part digit_parts")


class CArguments(ctypes.Structure):
    """What a launch is given."""

    _fields_ = [
        *_pointers("send recv"),
        *_words("count"),
        *_pointers("epochs"),
        *_words("epochs_taken"),
        *_half_words("epoch_slots blocks rank node local ranks_per_node nodes core_nodes"),
        *_half_words("steps slots arrivals parts"),
        ("step", CStep * MAX_STEPS),
        *_half_words("staged windows window_bytes slice_bytes last_slice_bytes chunk_bytes"),
        *_words("timeout_ns"),
        *_half_words("spin"),
        ("layout", CLayout),
        *_pointers("staging node_send node_recv rank_staging failure transport"),
    ]


class CVirtualRanks(ctypes.Structure):
    """The arguments of all ranks that one launch plays."""

    _fields_ = [("rank", CArguments * MAX_VIRTUAL_RANKS)]

    @classmethod
    def of(cls, ranks: Sequence[CArguments]) -> CVirtualRanks:
        """Copy the arguments of `ranks`; those behind them are 0."""
        return cls((CArguments * MAX_VIRTUAL_RANKS)(*ranks))


class CTransport(ctypes.Structure):
    """The MPI functions that carry messages to other machines, and their requests."""

    _fields_ = [
        *_words("isend irecv test iprobe communicator byte_type any_source any_tag ahead"),
        *_pointers("expected sent"),
        *_words("sent_count"),
    ]


# ---- of starts and timed calls: fabric/host_gate.cuh ---------------------------------------------


class CGate(ctypes.Structure):
    """The start gate of CPU ranks on one machine."""

    _fields_ = [
        ("flags", POINTER),
        *_half_words("ranks rank spin"),
        *_words("round timeout_ns"),
        ("failure", ctypes.POINTER(CFailure)),
        *_words("by_clock lead_ns ahead_ns agreed_ns left_ns"),
    ]


class CNativeCall(ctypes.Structure):
    """A C function and its arguments."""

    _fields_ = [("function", U64), ("arguments", U64 * 6), ("failure", POINTER)]


class CCall(ctypes.Structure):
    """A C function, how often it is called, and when it was."""

    _fields_ = [("native", CNativeCall), *_words("calls result started_ns ended_ns")]


class CSequence(ctypes.Structure):
    """C functions that are called as one."""

    _fields_ = [("parts", ctypes.POINTER(CNativeCall)), *_words("count failed")]


# ---- of the work between all-reduces: work.cuh ---------------------------------------------------


class CWorkMemory(ctypes.Structure):
    """Memory that is read in turns."""

    _fields_ = [("words", POINTER), *_words("nbytes next arrived seen")]


# ---- of inputs whose result is known: problem.cuh ------------------------------------------------


class CFormula(ctypes.Structure):
    """What elements are made of; verify.Formula says what the fields mean."""

    _fields_ = [
        *_words("recipe seed ranks active sign width common multiplier divisor origin span"),
        *_words("is_maximum factors combine odd"),
        *_each(ctypes.c_double, "scale parts relative slack"),
        ("choices", U64),
        ("choice", POINTER),
    ]
