"""What the kernels of a cubin use of a GPU, read from its cubin and from the log of ptxas.

The cubin is an ELF file. It holds what the linked kernel takes of the hardware (registers, stack,
shared and constant memory), but not what was spilled: that is in the log alone, with one entry for
each function that was not inlined.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nvrar_bench.errors import CompilerError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")

# Attributes in .nv.info: a byte of format, a byte that names it, and in this format their size.
_SIZED = 4
_REGISTERS = 0x2F  # (symbol, registers of one thread)
_STACK = 0x12  # (symbol, bytes of stack of one thread, callees included)

_RESERVED = 1024  # bytes of shared memory that CUDA keeps for itself, from sm_90 on
_ENTRY = ".nv.constant0."  # the bank of a kernel's arguments: functions that it calls have none

_FUNCTION = re.compile(r"Function properties for '?(\w+)'?")
_SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
_OURS = "nvrar"  # names of our functions hold this


@dataclass(frozen=True)
class ResourceUsage:
    """Of the kernels of one cubin; memory in bytes."""

    registers: int  # of one thread
    spill_stores: int  # in all functions of this project, each counted once
    spill_loads: int
    stack: int  # of one thread
    shared: int  # static, of one block
    constant: int  # arguments and literals
    cubin: int


@dataclass(frozen=True)
class _Section:
    name: str
    kind: int
    data: bytes
    size: int


def read(cubin: bytes, log: str) -> ResourceUsage:
    """Read what the kernels of a cubin use: of each number the largest.

    CompilerError: `cubin` holds none, or is none.
    """
    try:
        sections = {section.name: section for section in _sections(cubin)}
    except (struct.error, ValueError) as error:
        raise CompilerError(f"the cubin cannot be read: {error}") from error
    entries = [name.removeprefix(_ENTRY) for name in sections if name.startswith(_ENTRY)]
    if not entries:
        raise CompilerError("the cubin holds no kernel")
    attributes = [_attributes_of(sections, entry) for entry in entries]
    stores, loads = spills(log)
    return ResourceUsage(
        registers=max(one[_REGISTERS] for one in attributes),
        spill_stores=stores,
        spill_loads=loads,
        stack=max(one.get(_STACK, 0) for one in attributes),
        shared=max(_shared_bytes(sections, entry) for entry in entries),
        constant=max(_constant_bytes(sections, entry) for entry in entries),
        cubin=len(cubin),
    )


def spills(log: str) -> tuple[int, int]:
    """Bytes stored and loaded again, over all functions of this project that the log names.

    NVSHMEM's functions save registers for their callers, which ptxas calls spills too.
    """
    stores = loads = 0
    function = ""
    for line in log.splitlines():
        if named := _FUNCTION.search(line):
            function = named[1]
        elif (spilled := _SPILLS.search(line)) and _OURS in function:
            stores += int(spilled[1])
            loads += int(spilled[2])
    return stores, loads


def _sections(cubin: bytes) -> Iterator[_Section]:
    fields = _HEADER.unpack_from(cubin)
    if fields[0][:4] != b"\x7fELF":
        raise ValueError("it is no ELF file")
    table, size, count, names_index = fields[6], fields[11], fields[12], fields[13]
    headers = [_SECTION.unpack_from(cubin, table + i * size) for i in range(count)]
    names = _content(cubin, headers[names_index])
    for header in headers:
        yield _Section(_text(names, header[0]), header[1], _content(cubin, header), header[5])


def _content(cubin: bytes, header: tuple[int, ...]) -> bytes:
    no_bits = 8  # memory that is reserved, and has no content in the file
    return b"" if header[1] == no_bits else cubin[header[4] : header[4] + header[5]]


def _text(strings: bytes, start: int) -> str:
    return strings[start : strings.index(b"\0", start)].decode()


def _attributes_of(sections: dict[str, _Section], entry: str) -> dict[int, int]:
    """The attributes of `entry` that are one number."""
    strings, symbols = sections[".strtab"].data, sections[".symtab"].data
    names = [_text(strings, fields[0]) for fields in _SYMBOL.iter_unpack(symbols)]
    found = {}
    for attribute, content in _attributes(sections[".nv.info"].data):
        if len(content) == 8:
            symbol, value = struct.unpack("<II", content)
            if names[symbol] == entry:
                found[attribute] = value
    if _REGISTERS not in found:
        raise CompilerError(f"the cubin does not say how many registers {entry} takes")
    return found


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        at += 4
        if form == _SIZED:
            yield attribute, data[at : at + size]
            at += size


def _shared_bytes(sections: dict[str, _Section], entry: str) -> int:
    """What the kernel declares; from sm_90 on CUDA keeps the first KiB of a block's memory."""
    declared = sections.get(f".nv.shared.{entry}")
    if declared is None:
        return 0
    return declared.size - (_RESERVED if ".nv.shared.reserved.0" in sections else 0)


def _constant_bytes(sections: dict[str, _Section], entry: str) -> int:
    """Its own banks: arguments and literals. Banks of the whole cubin belong to no kernel."""
    banks = re.compile(rf"\.nv\.constant\d+\.{re.escape(entry)}")
    return sum(section.size for name, section in sections.items() if banks.fullmatch(name))
