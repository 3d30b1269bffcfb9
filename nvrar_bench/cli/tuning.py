"""From the options of `tune` to the settings of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nvrar_bench.backends.nvrar.space import PROTOCOLS, Space
from nvrar_bench.cli.launching import Launching
from nvrar_bench.cli.stopping import StopAt
from nvrar_bench.documents.files import STDOUT
from nvrar_bench.run.tune_plan import Tune
from nvrar_bench.settings.options import names, require, wholes
from nvrar_bench.settings.planning import Wish, settings_of
from nvrar_bench.settings.settings import Settings
from nvrar_bench.units import parse_size

WARMUP = 20
_MOST = 1 << 20  # of blocks and threads; what a device allows is less, and says so itself


@dataclass(frozen=True)
class Search:
    """The options that only `tune` has, or has as lists, as written."""

    output: Path
    json: Path | None
    backend: str
    protocol: str | None
    blocks: str | None
    threads: str | None
    chunk: str | None
    radix: str | None
    max_time: float

    def tune(self) -> Tune:
        """Check them.

        Raises:
            UsageError: naming the option, the value and what is allowed.
        """
        allowed = "more than 0, at most 86400 seconds"
        require(0 < self.max_time <= 86400, "--max-time", f"{self.max_time:g}", allowed)
        require(self.backend in ("nvrar", "fake"), "--backend", self.backend, "nvrar, fake")
        self._require_output()
        return Tune(self.output, self._space(), self.max_time)

    def _require_output(self) -> None:
        require(self.output != STDOUT, "--output", self.output, "a file; the choices are printed")

    def _space(self) -> Space:
        protocols = names(self.protocol)
        for name in protocols:
            require(name in PROTOCOLS, "--protocol", repr(name), ", ".join(PROTOCOLS))
        return Space(
            tuple(dict.fromkeys(protocols)),
            wholes("--blocks", self.blocks, 1, _MOST),
            wholes("--threads", self.threads, 1, _MOST),
            tuple(dict.fromkeys(map(_chunk, names(self.chunk)))),
            wholes("--radix", self.radix, 2, 64),
        )


def _chunk(text: str) -> int:
    size = parse_size(text, option="--chunk")
    require(size >= 16, "--chunk", text, "16 bytes and more")
    return size


def tune_settings(
    search: Search, wish: Wish, launching: Launching, *, ranks: int | None, **how: Any
) -> Settings:
    """Return the settings of a search; no table has a say in it.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    planned = settings_of(
        wish, backends=(search.backend,), stop_at=StopAt(), warmup=WARMUP, check=True, ranks=ranks,
        launching=launching, follow_table=False, **how,
    )  # fmt: skip
    named = tuple(replace(sweep, name="tune") for sweep in planned.sweeps)
    return replace(planned, sweeps=named, tune=search.tune())
