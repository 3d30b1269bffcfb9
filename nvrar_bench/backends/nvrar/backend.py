"""NVRAR: the kernel of kernels/, on any device."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nvrar_bench.backends.base import Array, Operation, Tunable
from nvrar_bench.backends.nvrar.chooser import (
    Chooser,
    Chosen,
    require_table_within,
    shipped_table,
)
from nvrar_bench.backends.nvrar.engine import Engine, SharedWords, StagingMemory
from nvrar_bench.backends.nvrar.layout import (
    LARGEST_WINDOW,
    Layout,
    Schedule,
    place_fields,
    plan,
    window_fields,
)
from nvrar_bench.backends.nvrar.limits import (
    halving_from,
    one_shot_up_to,
    require_exchange,
    require_within,
    staging_layout,
)
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Tuning
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.tuning import MadeFor
from nvrar_bench.errors import TimedOut, Unavailable
from nvrar_bench.plan import Case
from nvrar_bench.toolchain.kernel import DOUBLING, Kernel, kernels_dir, sources_digest
from nvrar_bench.toolchain.structs import CArguments, CFailure
from nvrar_bench.world import World

PHASES = {1: "reduce-scatter", 2: "exchange between nodes", 3: "all-gather"}
ONE_SHOT_PHASES = {2: "one-shot"}  # its ranks are the nodes
FLAG_SPAN = 1 << 32  # a packet's flag is the low half of the epoch
_FAILURE_WORDS = len(CFailure._fields_)
_TABLES_KEPT = 32


@dataclass(frozen=True, eq=False)
class _Staging:
    schedule: Schedule
    layout: Layout
    memory: StagingMemory
    table: SharedWords


class NvrarBackend(Tunable):
    """Shared by all operations: the epoch, and one staging memory per protocol and schedule."""

    name = "nvrar"
    wraps = True

    def __init__(
        self, world: World, engine: Engine, timeout: float, tuning: Tuning = AUTOMATIC
    ) -> None:
        """Memory is taken when an operation needs it. Collective.

        UsageError: `tuning` fixes what the engine does not allow, or its table is of something
        else.
        """
        super().__init__(world, engine.device, timeout)
        require_within(tuning, engine.limits)
        require_exchange(tuning.exchange, world.nodes)
        self.engine, self.tuning = engine, tuning
        # As rank 0 sees it: ranks that differed would choose launches that wait for each other.
        self.made_for, made_on = world.comm.bcast(_here(world, engine))
        shipped = shipped_table(self.made_for, engine.limits)
        self.chooser = Chooser(
            engine.limits,
            world.ranks_per_node,
            engine.packets_up_to,
            halving_from(engine.fabric, world.nodes),
            one_shot_up_to(engine.fabric, world.nodes, world.ranks_per_node),
            world.comm.bcast(shipped),
        )
        self.doubts = self._doubts(*made_on)
        self._epoch = tuning.first_epoch
        self.begun = 0  # epochs of calls that were counted and have not run
        self._staging: dict[tuple[str, Schedule], _Staging] = {}
        # After a wait in vain, flags and epochs of the ranks no longer fit: nothing runs any more.
        self.broken: TimedOut | None = None
        self.failures = self._words(len(world.seats) * _FAILURE_WORDS)
        self.epochs = self._words(len(world.seats) * engine.limits.max_blocks)
        # Buffers stay where they are from case to case, so their tables do too.
        self.table = lru_cache(_TABLES_KEPT)(self._make_table)
        self._write_epochs()

    def _doubts(self, processor: str, kernels_sha256: str) -> tuple[str, ...]:
        """Refuse a table that does not fit here; say what makes one doubtful that does."""
        table = self.tuning.table
        if table is None:
            return ()
        table.require_made_for(self.made_for)
        require_table_within(table, self.engine.limits)
        return tuple(table.doubts(processor, kernels_sha256))

    def kernels(self, cases: Iterable[Case]) -> list[Kernel]:
        return list(dict.fromkeys(map(self.kernel, cases)))

    def foresee(self, cases: Iterable[Case]) -> None:
        """Load all kernels; what is not built yet is built."""
        self.engine.foresee(self.kernels(cases))

    def kernel(self, case: Case) -> Kernel:
        """Return the kernel that runs `case`."""
        return self._kernel(self.chooser.choose(self.tuning, case), case)

    def _kernel(self, chosen: Chosen, case: Case) -> Kernel:
        protocol, launch_class = chosen.shape.protocol, chosen.launch_class
        schedule = self.schedule(chosen.shape)
        exchange = schedule.exchange if launch_class else DOUBLING
        kernel = Kernel(case.dtype, case.op, protocol, self.engine.fabric, launch_class, exchange)
        group = schedule.group(self.world.ranks_per_node)
        return kernel.for_run(group, schedule.radices, schedule.is_folding)

    def prepare(self, case: Case, send: Array, recv: Array) -> Operation:
        """Fill in the arguments of the kernel, which is built if it was not foreseen."""
        return self.prepare_as(self.chooser.choose(self.tuning, case), case, send, recv)

    def prepare_as(self, chosen: Chosen, case: Case, send: Array, recv: Array) -> Operation:
        if self.engine.stream_ordered:
            self._catch_up()
        kernel, schedule = self._kernel(chosen, case), self.schedule(chosen.shape)
        key = kernel.protocol, schedule
        staging = self._staging.get(key) or self._allocate_staging(*key)
        return _AllReduce(self, kernel, staging, chosen, case, send, recv)

    def schedule(self, shape: Shape) -> Schedule:
        """Return the steps between nodes, or in one-shot between ranks."""
        world = self.world
        return plan(world.nodes, world.ranks_per_node, shape.radix, shape.exchange)

    def _allocate_staging(self, protocol: str, schedule: Schedule) -> _Staging:
        engine, group = self.engine, self.world.ranks_per_node
        layout = staging_layout(schedule, group, protocol, engine.limits, engine.all_mapped)
        memory = engine.allocate(layout.nbytes)
        require_mapped(self.world, memory.peers)
        staging = _Staging(schedule, layout, memory, self.table(memory.peers))
        self._staging[protocol, schedule] = staging
        return staging

    def _make_table(self, addresses: tuple[int, ...]) -> SharedWords:
        """Put pointers where the kernel reads them."""
        words = self._words(len(addresses))
        words.write(addresses)
        return words

    def _words(self, count: int) -> SharedWords:
        return SharedWords(self.device.memory, count)

    def take_epochs(self, windows: int) -> int:
        """Count the epochs of the next calls, one for each window, and return the first.

        All ranks count alike, and so does the kernel. No packet flag may come round again while an
        old cell still bears it, so before the low half of the epoch wraps all staging memory is
        cleared, behind barriers. Flag 0 is never used.
        """
        if (self._epoch - 1) % FLAG_SPAN + windows >= FLAG_SPAN:
            self._start_over()
            self._epoch += self.begun  # they run first, with the new flags
        first = self._epoch
        self._epoch += windows
        self.begun += windows
        return first

    def _catch_up(self) -> None:
        """Learn how far graphs have counted; a wrap must not come while a stream is held.

        No case counts through half of the flags there are.
        """
        self._epoch = self.epochs.read()[0]
        if (self._epoch - 1) % FLAG_SPAN >= FLAG_SPAN // 2:
            self._start_over()

    def _start_over(self) -> None:
        """Go on with the lowest flag, and no old cell that could bear it or a higher one."""
        self._epoch = -(-self._epoch // FLAG_SPAN) * FLAG_SPAN + 1
        self._clear_staging()
        self._write_epochs()

    def _write_epochs(self) -> None:
        self.epochs.write([self._epoch] * (len(self.world.seats) * self.engine.limits.max_blocks))

    def _clear_staging(self) -> None:
        self.epochs.read()  # and so wait for what was launched: it may read what peers clear
        self.world.comm.Barrier()
        for staging in self._staging.values():
            self.device.memory.clear(staging.memory.block)
        self.world.comm.Barrier()

    def facts(self) -> dict[str, str]:
        table = self.chooser.shipped
        if table is None:
            return self.engine.facts()
        return {**self.engine.facts(), "nvrar_table": f"{table.path}, of {table.made_on.processor}"}

    def close(self) -> None:
        for staging in self._staging.values():
            self.device.memory.release(staging.memory.block)
        self._staging.clear()
        if self.broken is None:  # else a peer may be gone, and closing is collective
            self.engine.close()


class _AllReduce(Operation):
    def __init__(
        self,
        backend: NvrarBackend,
        kernel: Kernel,
        staging: _Staging,
        chosen: Chosen,
        case: Case,
        send: Array,
        recv: Array,
    ) -> None:
        engine = backend.engine
        self.variant = kernel.protocol
        self.shape, self.tuned_at = chosen.shape, chosen.tuned_at
        self.stream_ordered = self.confirm_waits = engine.stream_ordered
        self.warnings = (*engine.warnings, *backend.doubts, *chosen.warnings)
        self._backend = backend
        self._buffers = send, recv  # their memory must outlive the call
        self._phases = ONE_SHOT_PHASES if staging.schedule.is_one_shot else PHASES
        self._epochs_taken = -(-case.size_bytes // chosen.window_bytes)
        peers = _peers(backend, send, recv)
        self._tables = [backend.table(addresses) for addresses in peers]
        self.seats = [
            self._arguments(seat, staging, chosen, case) for seat in range(len(backend.world.seats))
        ]
        self._launch = engine.bind(kernel, self.seats, chosen.shape)
        self.native = engine.native(kernel, self.seats)
        self._codes = [] if self.stream_ordered else [_code(seat) for seat in self.seats]

    def _arguments(self, seat: int, staging: _Staging, chosen: Chosen, case: Case) -> CArguments:
        backend, world, shape = self._backend, self._backend.world, chosen.shape
        device, slots = backend.device, backend.engine.limits.max_blocks
        rank, group = world.seats[seat], staging.schedule.group(world.ranks_per_node)
        arguments = CArguments(
            send=device.memory.addresses(self._buffers[0])[seat],
            recv=device.memory.addresses(self._buffers[1])[seat],
            count=case.count,
            epochs=backend.epochs.address + 8 * slots * seat,
            epoch_slots=slots,
            epochs_taken=self._epochs_taken,
            blocks=shape.blocks,
            staged=not self._tables,
            chunk_bytes=shape.chunk_bytes,
            spin=backend.engine.spin,
            timeout_ns=int(backend.timeout * 1e9),
            layout=staging.layout,
            staging=staging.memory.peers[rank],
            rank_staging=staging.table.address,
            failure=backend.failures.address + 8 * _FAILURE_WORDS * seat,
            **place_fields(rank, group, staging.schedule),
            **window_fields(case.size_bytes, self._window_bytes(case, chosen, staging), group),
        )
        if self._tables:
            first = 8 * (rank - arguments.local)
            arguments.node_send, arguments.node_recv = (t.address + first for t in self._tables)
        return arguments

    def _window_bytes(self, case: Case, chosen: Chosen, staging: _Staging) -> int:
        """Without staging between nodes no memory bounds a window: it is the message."""
        is_direct = bool(self._tables) and self.variant == "signal"
        is_unbounded = is_direct and staging.schedule.nodes == 1
        return min(case.size_bytes, LARGEST_WINDOW) if is_unbounded else chosen.window_bytes

    def launch(self) -> None:
        self.begin_native(1)
        self._launch()
        self.end_native(0)

    def begin_native(self, batch: int) -> None:
        if self._backend.broken:
            raise self._backend.broken
        self._backend.take_epochs(batch * self._epochs_taken)

    def end_native(self, result: int) -> None:  # noqa: ARG002 - the kernel returns nothing
        self._backend.begun = 0
        for code in self._codes:
            if code.value:
                self.confirm()

    def confirm(self) -> None:
        backend = self._backend
        words = backend.failures.read(self.variant)
        for seat, rank in enumerate(backend.world.seats):
            failure = CFailure(*words[_FAILURE_WORDS * seat : _FAILURE_WORDS * (seat + 1)])
            if failure.code:
                backend.broken = TimedOut(
                    f"NVRAR gave up after {backend.timeout:g} s on rank {rank} "
                    f"({backend.world.hosts[rank]}): "
                    + describe(failure, backend.world.hosts, self._phases)
                )
                raise backend.broken


def _here(world: World, engine: Engine) -> tuple[MadeFor, tuple[str, str]]:
    """What a table made here is good for; the processor and the kernels it would be made on."""
    device, (model, arch) = engine.device, engine.device.processor
    shape = world.nodes, world.ranks_per_node, world.virtual_nodes
    made_for = MadeFor(device.name, arch, engine.fabric, *shape, device.ranks_sharing)
    return made_for, (model, sources_digest(kernels_dir()))


def _code(arguments: CArguments) -> ctypes.c_uint64:
    """Return the first word of struct Failure in host memory: this is within the timed part."""
    return ctypes.c_uint64.from_address(arguments.failure)


def _peers(backend: NvrarBackend, send: Array, recv: Array) -> list[tuple[int, ...]]:
    """Where all ranks' send and recv are mapped here; empty unless both are symmetric."""
    found = [backend.device.memory.peers(array) for array in (send, recv)]
    peers = [addresses for addresses in found if addresses is not None]
    if len(peers) < len(found):
        return []
    for addresses in peers:
        require_mapped(backend.world, addresses)
    return peers


def require_mapped(world: World, addresses: Sequence[int]) -> None:
    """Refuse memory, by rank, that a rank of the same node does not reach (Unavailable)."""
    first = world.rank - world.rank % world.ranks_per_node
    if not world.virtual_ranks and not all(addresses[first : first + world.ranks_per_node]):
        raise Unavailable(
            f"nvrar: rank {world.rank} cannot map the memory of all ranks of its node "
            f"({world.host}): NVRAR needs NVLink or PCIe peer access between the GPUs of a node"
        )


def describe(
    failure: CFailure, hosts: Sequence[str] = (), phases: Mapping[int, str] = PHASES
) -> str:
    """Say where a wait stood, what it expected and saw; of several `hosts`, also the peer's."""
    phase = phases.get(failure.phase, str(failure.phase))
    where = f" ({hosts[failure.peer]})" if len(set(hosts)) > 1 else ""
    return (
        f"phase {phase}, step {failure.step}, waiting for rank {failure.peer}{where}, "
        f"chunk {failure.chunk}, expected flag {failure.expected}, saw {failure.seen}"
    )
