"""What a search for the best launches may try, and where its table goes, as `tune` was asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.backends.nvrar.space import PROTOCOLS, Space
from nvrar_bench.documents.files import STDOUT
from nvrar_bench.settings.options import TuneOptions
from nvrar_bench.settings.values import names, require, wholes
from nvrar_bench.toolchain.kernel import EXCHANGES
from nvrar_bench.units import parse_size

_MOST = 1 << 20  # of blocks and threads; what a device allows is less, and says so itself


@dataclass(frozen=True)
class Tune:
    """The launches to try; at one size no round of the race begins after `max_time` seconds."""

    output: Path
    space: Space
    max_time: float

    def to_json(self) -> dict[str, Any]:
        """For the record; an empty list is what limits and size suggest."""
        listed = {key: list(values) for key, values in asdict(self.space).items()}
        return {"output": str(self.output), "max_time_s": self.max_time, **listed}


def search_of(options: TuneOptions) -> Tune:
    """Check the options that only `tune` has, or has as lists.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    seconds, backend = options.max_time, options.backend
    allowed = "more than 0, at most 86400 seconds"
    require(0 < seconds <= 86400, "--max-time", f"{seconds:g}", allowed)
    require(backend in ("nvrar", "fake"), "--backend", backend, "nvrar, fake")
    require(options.output != STDOUT, "--output", options.output, "a file; the choices are printed")
    return Tune(options.output, _space(options), seconds)


def _space(options: TuneOptions) -> Space:
    protocols = names(options.protocol)
    for name in protocols:
        require(name in PROTOCOLS, "--protocol", repr(name), ", ".join(PROTOCOLS))
    exchanges = names(options.exchange)
    for name in exchanges:
        require(name in EXCHANGES, "--exchange", repr(name), ", ".join(EXCHANGES))
    return Space(
        tuple(dict.fromkeys(protocols)),
        wholes("--blocks", options.blocks, 1, _MOST),
        wholes("--threads", options.threads, 1, _MOST),
        tuple(dict.fromkeys(map(chunk_bytes, names(options.chunk)))),
        wholes("--radix", options.radix, 2, 64),
        tuple(dict.fromkeys(exchanges)),
    )


def chunk_bytes(text: str) -> int:
    """Read a value of --chunk.

    Raises:
        UsageError: it is no size, or too small.
    """
    size = parse_size(text, option="--chunk")
    require(size >= 16, "--chunk", text, "16 bytes and more")
    return size
