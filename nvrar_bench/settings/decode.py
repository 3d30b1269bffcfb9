"""A decode step as `decode` was asked for it: which model, batches and work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from nvrar_bench.documents.decode import Compute
from nvrar_bench.plan import AXES, Case
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.models import Model, read_model, shard_of
from nvrar_bench.settings.options import DecodeOptions
from nvrar_bench.settings.plans import build_plan, choose
from nvrar_bench.settings.values import names, require, wholes

MOST_SEQUENCES, MOST_TOKENS = 65536, 10_000_000
COMPUTES = ("stream", "gemm", "none")


@dataclass(frozen=True)
class Decode:
    """The steps to measure: one for each batch of sequences, whose caches hold `context` tokens.

    `one_graph`: on GPUs a whole step is one CUDA graph.
    """

    model: Model
    batches: tuple[int, ...]
    context: int
    compute: Compute
    one_graph: bool

    def batch_of(self, case: Case) -> int:
        """Return how many sequences the all-reduces of `case` are of."""
        return case.count // self.model.hidden_size

    def to_json(self) -> dict[str, Any]:
        """For the record, which has the model besides."""
        return {
            "model": self.model.name, "batches": list(self.batches), "context": self.context,
            "compute": self.compute, "one_graph": self.one_graph,
        }  # fmt: skip


def decode_of(options: DecodeOptions) -> Decode:
    """Check the options that only `decode` has.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    compute, context = options.compute, options.context
    require(compute in COMPUTES, "--compute", repr(compute), ", ".join(COMPUTES))
    require(0 <= context <= MOST_TOKENS, "--context", context, f"0 to {MOST_TOKENS}")
    batches = wholes("--batch", options.batch, 1, MOST_SEQUENCES)
    model = read_model(options.model)
    ranks = options.ranks or options.virtual_ranks
    if ranks:
        shard_of(model, ranks)
    return Decode(model, batches, context, cast(Compute, compute), options.one_graph)


def decode_sweep(options: DecodeOptions, decode: Decode) -> Sweep:
    """Return the all-reduces of the steps, one case for each batch."""
    plan = build_plan(
        counts=[batch * decode.model.hidden_size for batch in decode.batches],
        dtypes=(decode.model.torch_dtype,),
        buffers=(_one("buffers", options.buffers),),
        protocols=(_one("protocol", options.protocol),),
    )
    return Sweep("decode", (), (), None, None, plan)


def _one(key: str, text: str) -> str:
    """Check a choice of which a step has one."""
    chosen = choose(AXES[key], names(text))
    require(len(chosen) == 1, f"--{key}", repr(text), f"one of {', '.join(AXES[key].allowed)}")
    return chosen[0]
