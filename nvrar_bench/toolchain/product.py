"""All kernels that a choice of architectures, fabrics, types, operations and protocols asks for."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import product

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import CompilerError, Interrupted, UsageError
from nvrar_bench.toolchain import cuda, nvrtc
from nvrar_bench.toolchain.host import Source
from nvrar_bench.toolchain.kernel import (
    CLASSES,
    CUDA_GATE,
    DOUBLING,
    EXCHANGES,
    PROTOCOLS,
    USUAL_RANKS,
    Elements,
    Kernel,
    launch_classes,
)
from nvrar_bench.toolchain.resource_usage import ResourceUsage

FABRICS = ("nvshmem", "loopback")
_THREADS = tuple(map(str, CLASSES))
_ANY = "any"
_RANKS = (_ANY, *map(str, USUAL_RANKS))
# One of each kind of GPU that people run this on: A100, H100 and H200, B200, RTX 50.
ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class ListOption:
    """What may be asked for, and what is built where nothing is."""

    option: str
    allowed: tuple[str, ...]
    default: tuple[str, ...]

    def choose(self, given: Sequence[str], everything: bool) -> tuple[str, ...]:
        """Check `given` and drop repetitions (UsageError)."""
        for value in given:
            if value not in (*self.allowed, "all"):
                choices = ", ".join((*self.allowed, "all"))
                raise UsageError(f"{self.option} {value!r} is not allowed; allowed: {choices}")
        if "all" in given or (everything and not given):
            return self.allowed
        return tuple(dict.fromkeys(given)) or self.default


# The defaults hold one type of each way to accumulate: as it is, widened from 16 and 8 bits, whole.
LIST_OPTIONS = {
    "fabric": ListOption("--fabric", FABRICS, FABRICS),
    "protocol": ListOption("--protocol", tuple(PROTOCOLS), tuple(PROTOCOLS)),
    "dtype": ListOption("--dtype", tuple(DTYPES), ("float32", "bfloat16", "float8_e4m3", "int64")),
    "op": ListOption("--op", tuple(OPS), ("sum", "avg")),
    "threads": ListOption("--threads", _THREADS, _THREADS),
    "exchange": ListOption("--exchange", EXCHANGES, (DOUBLING,)),
    "ranks_per_node": ListOption("--ranks-per-node", _RANKS, _RANKS),
}


@dataclass(frozen=True)
class BuildOrder:
    """One source for one architecture, to be built."""

    arch: str
    kernel: Source

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.kernel.name} for {self.arch}"


@dataclass(frozen=True)
class Delivery:
    """What came of an order."""

    order: BuildOrder
    usage: ResourceUsage
    seconds: float
    cached: bool


def choose_kernels(wanted: Mapping[str, Sequence[str]], everything: bool) -> list[Kernel]:
    """The kernels of a choice; `wanted` has what LIST_OPTIONS names, or nothing (UsageError)."""
    chosen = {name: one.choose(wanted[name], everything) for name, one in LIST_OPTIONS.items()}
    *axes, ranks = chosen.values()
    found: list[Kernel] = []
    for fabric, protocol, dtype, op, threads, exchange in product(*axes):
        kernel = Kernel(dtype, op, protocol, fabric, int(threads), exchange)
        for one in ranks:
            found += [kernel] if one == _ANY else kernel.usual(int(one))
    return list(dict.fromkeys(found))


def with_what_all_need(kernels: Sequence[Kernel]) -> list[Source]:
    """Add what else a run takes: what holds the stream, what makes and checks elements."""
    dtypes = dict.fromkeys(kernel.dtype for kernel in kernels)
    return [CUDA_GATE, *map(Elements, dtypes), *kernels]


def orders(architectures: Sequence[str], kernels: Sequence[Kernel]) -> list[BuildOrder]:
    """Return what to build: of `kernels` those that do not spill, and what else a run takes.

    UsageError: all would spill.
    """
    found = [
        BuildOrder(arch, source)
        for arch in architectures
        for source in with_what_all_need([one for one in kernels if _fits(one, arch)])
    ]
    if not any(isinstance(order.kernel, Kernel) for order in found):
        classes = ",".join(dict.fromkeys(str(one.launch_class) for one in kernels))
        raise UsageError(
            f"--threads {classes}: these kernels would spill for {', '.join(architectures)}; "
            f"allowed: {min(CLASSES)}"
        )
    return found


def _fits(kernel: Kernel, arch: str) -> bool:
    return kernel.launch_class in launch_classes(kernel.fabric, arch)[kernel.protocol]


def choose_architectures(given: Sequence[str]) -> list[str]:
    """Check architectures; where none is given, those of ARCHITECTURES that NVRTC knows.

    UsageError: NVRTC does not know one. CompilerError: NVRTC is missing.
    """
    for arch in given:
        nvrtc.require_architecture(arch)
    known = nvrtc.architectures()
    return list(dict.fromkeys(given)) or [arch for arch in ARCHITECTURES if arch in known]


def build_missing(
    sources: Sequence[Source], arch: str, cores: Collection[int], show: Callable[[int, int], None]
) -> None:
    """Build what the cache does not hold; `show` gets how many are done, and of how many.

    Raises as `build_all`.
    """
    missing = [
        BuildOrder(arch, one) for one in dict.fromkeys(sources) if not cuda.is_built(one, arch)
    ]
    done = 0

    def count(_: BuildOrder) -> None:
        nonlocal done
        done += 1
        show(done, len(missing))

    if missing:
        show(0, len(missing))
    if len(missing) == 1:  # not worth the start of a process
        count(deliver(missing[0]).order)
    elif missing:
        build_all(missing, count, cores)


def build_all(
    orders: Sequence[BuildOrder], done: Callable[[BuildOrder], None], cores: Collection[int] = ()
) -> list[Delivery]:
    """Build, as many at a time as there are `cores`, and call `done` after each.

    Without `cores`, as many as this process has. NVRTC compiles one program at a time in a process,
    so these are processes.

    CompilerError: a kernel was refused, or a process died; what was not begun is not built.
    Interrupted: by Ctrl-C; what was built stays in the cache.
    """
    cores = frozenset(cores) or os.sched_getaffinity(0)
    # Not by fork: MPI, which a rank has started, does not allow it.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(len(cores), len(orders)), mp_context=spawn, initializer=_begin_work, initargs=(cores,)
    ) as pool:
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


def _begin_work(cores: Collection[int]) -> None:
    """Ctrl-C reaches all processes of a terminal; the parent alone answers it.

    A rank is bound to a core of its own, and a parent that is killed says goodbye to nobody.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a core that was taken away meanwhile
        os.sched_setaffinity(0, cores)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def deliver(order: BuildOrder) -> Delivery:
    """Build one kernel (CompilerError)."""
    built = cuda.build(order.kernel, order.arch)
    return Delivery(order, built.resource_usage(), built.seconds, built.cached)
