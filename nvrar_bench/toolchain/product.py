"""All kernels that a choice of architectures, fabrics, types, operations and protocols asks for."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import CompilerError, Interrupted, UsageError
from nvrar_bench.toolchain import cuda, nvrtc
from nvrar_bench.toolchain.kernel import PROTOCOLS, Kernel
from nvrar_bench.toolchain.resource_usage import ResourceUsage

FABRICS = ("nvshmem", "loopback")
# One of each kind of GPU that people run this on: A100, H100 and H200, B200, RTX 50.
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class Axis:
    """What may be asked for, and what is built where nothing is."""

    option: str
    allowed: tuple[str, ...]
    default: tuple[str, ...]

    def choose(self, given: Sequence[str], everything: bool) -> tuple[str, ...]:
        """Check `given` and drop repetitions.

        Raises:
            UsageError: naming the option, the value and what is allowed.
        """
        for value in given:
            if value not in (*self.allowed, "all"):
                choices = ", ".join((*self.allowed, "all"))
                raise UsageError(f"{self.option} {value!r} is not allowed; allowed: {choices}")
        if "all" in given or (everything and not given):
            return self.allowed
        return tuple(dict.fromkeys(given)) or self.default


# The defaults hold one type of each way to accumulate: as it is, widened from 16 and 8 bits, whole.
AXES = {
    "fabric": Axis("--fabric", FABRICS, FABRICS),
    "protocol": Axis("--protocol", tuple(PROTOCOLS), tuple(PROTOCOLS)),
    "dtype": Axis("--dtype", tuple(DTYPES), ("float32", "bfloat16", "float8_e4m3", "int64")),
    "op": Axis("--op", tuple(OPS), ("sum", "avg")),
}


@dataclass(frozen=True)
class Order:
    """One kernel for one architecture, to be built."""

    arch: str
    kernel: Kernel

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.kernel.name} for {self.arch}"


@dataclass(frozen=True)
class Delivery:
    """What came of an order."""

    order: Order
    usage: ResourceUsage
    seconds: float
    cached: bool


def choose_kernels(wanted: Mapping[str, Sequence[str]], everything: bool) -> list[Kernel]:
    """Return the kernels of a choice; `wanted` has the names of AXES, each may be empty.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    chosen = {name: axis.choose(wanted[name], everything) for name, axis in AXES.items()}
    return [
        Kernel(dtype, op, protocol, fabric)
        for fabric, protocol, dtype, op in product(*chosen.values())
    ]


def choose_architectures(given: Sequence[str]) -> list[str]:
    """Check architectures; where none is given, those of ARCHITECTURES that NVRTC knows.

    Raises:
        UsageError: NVRTC does not know one; the message names those that it does.
        CompilerError: NVRTC is missing.
    """
    for arch in given:
        nvrtc.require_architecture(arch)
    known = nvrtc.architectures()
    return list(dict.fromkeys(given)) or [arch for arch in ARCHITECTURES if arch in known]


def build_all(orders: Sequence[Order], done: Callable[[Order], None]) -> list[Delivery]:
    """Build, as many at a time as this process has cores, and call `done` after each.

    NVRTC compiles one program at a time in a process, so these are processes.

    Raises:
        CompilerError: a kernel was refused, or a process died; what was not begun is not built.
        Interrupted: by Ctrl-C; what was built stays in the cache.
    """
    workers = min(len(os.sched_getaffinity(0)), len(orders))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_ignore_interrupts) as pool:
        futures = [pool.submit(deliver, order) for order in orders]
        try:
            for future in as_completed(futures):
                done(future.result().order)
        except BrokenProcessPool as error:
            raise CompilerError(
                "a compiling process was killed; is there enough memory?"
            ) from error
        except KeyboardInterrupt:
            raise Interrupted(
                "interrupted; the kernels that were built stay in the cache"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)  # what was begun ends: NVRTC cannot be stopped
        return [future.result() for future in futures]


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def deliver(order: Order) -> Delivery:
    """Build one kernel.

    Raises:
        CompilerError: it was refused.
    """
    built = cuda.build(order.kernel, order.arch)
    return Delivery(order, built.resource_usage(), built.seconds, built.cached)
