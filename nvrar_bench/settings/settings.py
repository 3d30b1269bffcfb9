"""What a run was asked for, as resolved from the command line; the same on all ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nvrar_bench.backends.nvrar.layout import Schedule
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Tuning
from nvrar_bench.networks import Applied
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.launching import Tune
from nvrar_bench.settings.soak import SoakLimit
from nvrar_bench.settings.sweeps import Decode
from nvrar_bench.settings.values import Late
from nvrar_bench.timing.stopping import Stopping


@dataclass(frozen=True)
class Settings:
    """See `nvrar-bench sweep --help`; a number a sweep leaves open is taken from here."""

    sweeps: tuple[Sweep, ...]
    backends: tuple[str, ...]
    device: str
    stopping: Stopping
    warmup: int
    check: bool
    nodes: int | None
    timeout: float
    seed: int
    wrap_asked: bool = False  # by --check-mode wrap, of libraries that leave overflow open, too
    stop_at_wrong: bool = True
    interleave: bool = True  # points take turns in a random order; else one case at a time
    start: str = "auto"  # of calls: at an agreed time ("clock"), or "barrier"
    virtual_ranks: int | None = None  # that one process plays, by the fabric `loopback`
    tuning: Tuning = AUTOMATIC
    batch: int | None = None  # calls of a sample; None: as many as the device wants, by size
    graph: int = 1
    cold_cache: bool = False
    share_gpu: bool = False
    one_state: bool = False  # medians are of samples that found the machine in one state
    soak: SoakLimit | None = None
    tune: Tune | None = None
    decode: Decode | None = None
    late: Late | None = None
    network: str | None = None  # as asked for: a name, a file, or auto
    applied: Applied | None = None  # what was set for it
    launches: int = 1  # that the record holds: a run is one, and merging counts them

    def schedules(self, nodes: int, ranks_per_node: int) -> set[Schedule]:
        """Which ones calls may have on so many nodes."""
        of = self.tune.space if self.tune else self.tuning
        return of.schedules(nodes, ranks_per_node)

    def to_json(self) -> dict[str, Any]:
        """Every option as resolved, for the record."""
        stopping, table = self.stopping, self.tuning.table
        return {
            **self._measured(),
            "backends": list(self.backends),
            "device": self.device,
            "iters": None if stopping.precision or self.tune else stopping.iters,
            **_values(stopping, "precision", "min_samples", "max_samples"),
            "max_time_s": stopping.max_time,
            **_values(self, "warmup", "check", "wrap_asked", "nodes"),
            "timeout_s": self.timeout,
            **_values(self, "seed", "start", "interleave", "virtual_ranks"),
            **_values(self.tuning, "blocks", "threads", "chunk_bytes", "radix", "exchange"),
            "tuning": table.path if table else None,
            "tuning_sha256": table.sha256 if table else None,
            "tune": self.tune.to_json() if self.tune else None,
            "decode": self.decode.to_json() if self.decode else None,
            "late": str(self.late) if self.late else None,
            **_values(self, "batch", "graph", "cold_cache", "share_gpu"),
            "mapped_nodes": self.tuning.mapped_nodes,
            "one_state": self.one_state,
            "soak": str(self.soak) if self.soak else None,
            "network": self.network,
            "first_epoch": self.tuning.first_epoch,
            "launches": self.launches,
        }

    def _measured(self) -> dict[str, Any]:
        """What the cases of all sweeps are, each value once."""
        cases = [case for sweep in self.sweeps for case in sweep.plan]
        names = ("dtype", "op", "placement", "buffers", "protocol", "check_mode")
        return {
            "sweeps": [sweep.name for sweep in self.sweeps],
            "sizes": sorted({case.size_bytes for case in cases}),
            **{name: list(dict.fromkeys(getattr(case, name) for case in cases)) for name in names},
        }


def _values(of: object, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}
