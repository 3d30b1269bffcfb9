"""NCCL that only records, and worlds, blocks and cases for it."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from nvrar_bench.backends.nccl_library import NcclError
from nvrar_bench.settings.plans import build_plan

# These wait for other ranks: with a deadline, on a thread whose GPU is the right one.
WAITS = ("connect", "register", "deregister", "stop", "abort")


class Recorder:
    """NcclLibrary without NCCL; `late` and `broken` name methods that hang or fail."""

    def __init__(self, number: int = 23203, late: str = "", broken: str = "") -> None:
        self.number, self.late, self.broken = number, late, broken
        self.calls: list[tuple[Any, ...]] = []
        self.window: Any = "window"
        self.result = 0
        self.release = threading.Event()
        self.thread = threading.local()

    def _did(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name in WAITS:
            assert threading.current_thread() is not threading.main_thread()
            assert self.thread.ordinal == 3, "NCCL would take GPU 0"
        if name == self.late:
            self.release.wait(20)
        if name == self.broken:
            raise NcclError(f"{name} broke")

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def version(self) -> int:
        return self.number

    def unique_id(self) -> bytes:
        self._did("unique_id")
        return b"identity"

    def make_current(self, ordinal: int) -> None:
        self.thread.ordinal = ordinal

    def connect(self, ranks: int, rank: int, unique_id: bytes) -> str:
        self._did("connect", ranks, rank, unique_id)
        return f"comm{self.names().count('connect')}"

    def register(self, comm: Any, address: int, nbytes: int) -> Any:
        self._did("register", comm, address, nbytes)
        return self.window

    def deregister(self, comm: Any, window: Any) -> None:
        self._did("deregister", comm, window)

    def all_reduce(self, *arguments: Any) -> None:
        self._did("all_reduce", *arguments)

    def state(self, comm: Any) -> int:
        return self.result

    def last_error(self, comm: Any) -> str:
        return "its own words"

    def stop(self, comm: Any) -> None:
        self._did("stop", comm)

    def abort(self, comm: Any) -> None:
        self._did("abort", comm)


def array(address: int, block: Any = None) -> Any:
    return SimpleNamespace(address=address, owner=block)


def block(address: int, symmetric: bool = True) -> Any:
    made = SimpleNamespace(address=address, nbytes=8192, symmetric=symmetric)
    return type("Block", (), vars(made))()  # hashed by identity, as the device's are


def one(**changes: Any) -> Any:
    (case,) = build_plan(counts=(100,), buffers=("private",))
    return replace(case, **changes)


class Gathering:
    """A communicator of two ranks, of which the other always has `others` to give."""

    rank, size = 0, 2

    def __init__(self, *others: Any) -> None:
        self.others = list(others)

    def bcast(self, value: Any, root: int = 0) -> Any:
        return value

    def allgather(self, value: Any) -> list[Any]:
        return [value, self.others.pop(0) if self.others else value]


def two(alone: Any, *others: Any) -> Any:
    return replace(alone, comm=Gathering(*others), hosts=("here", "there"), machine_of=(0, 0))
