"""What to measure: the sweep that the options describe, those of a case file, or decode steps.

What is not allowed is a UsageError that names the option, the value and what is allowed; in a case
file it is a CaseFileError, which names the file and the key too.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, cast

from nvrar_bench.backends import require_known
from nvrar_bench.documents.decode import Compute
from nvrar_bench.errors import CaseFileError, UsageError
from nvrar_bench.plan import AXES, Case
from nvrar_bench.settings.casefile import Sweep, read_case_file
from nvrar_bench.settings.measure_options import CaseOptions, CheckModeOption, SizeOptions
from nvrar_bench.settings.models import Model, read_model, shard_of
from nvrar_bench.settings.options import DecodeOptions, SweepOptions, TuneOptions
from nvrar_bench.settings.plans import build_plan, choose, nothing_wraps, sizes_from_range
from nvrar_bench.settings.values import names, require, require_within, wholes
from nvrar_bench.units import parse_size

DEFAULT_MIN = "128K"
DEFAULT_MAX = "2M"
MOST_SEQUENCES, MOST_TOKENS = 65536, 10_000_000
COMPUTES = ("stream", "gemm", "none")
OTHER_NAMES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "fp64": "float64",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "f8e4m3": "float8_e4m3",
    "f8e5m2": "float8_e5m2",
}


def sweeps_of(options: SweepOptions) -> tuple[Sweep, ...]:
    """Return the sweep of the options, or those of --case."""
    if options.case is None:
        placement = "in_place" if options.in_place else "out_of_place"
        protocols = _chosen("protocol", options.protocol)
        modes = _chosen("check", options.check_mode)
        return (_sweep("sweep", options, (placement,), protocols, modes),)
    groups = SizeOptions, CaseOptions, CheckModeOption
    written = [each.name for group in groups for each in fields(group)]
    for name in written:
        if getattr(options, name) is not None:
            raise UsageError(
                f"--case and --{name.replace('_', '-')} exclude each other: the case file says "
                "what to run"
            )
    return file_sweeps(options.case)


def file_sweeps(case: str) -> tuple[Sweep, ...]:
    """Read the case file."""
    try:
        sweeps = read_case_file(case)
        for sweep in sweeps:
            require_known(sweep.backends, f"{case}: sweep {sweep.name}: backends")
    except UsageError as error:
        # A name that is no shipped file is refused by a message that has the option already.
        text = str(error)
        raise CaseFileError(text if text.startswith("--case ") else f"--case {text}") from None
    return sweeps


def tuned_sweep(options: TuneOptions) -> Sweep:
    """Return the sweep whose launches are searched; each protocol is a launch of its own."""
    return _sweep("tune", options)


def checked_by(sweeps: tuple[Sweep, ...], check_mode: str) -> tuple[Sweep, ...]:
    """Return the sweeps with these check modes in place of the case file's."""
    modes = choose(AXES["check"], names(check_mode))
    checked = [replace(sweep, plan=sweep.plan.checked_by(modes)) for sweep in sweeps]
    used = {case.check_mode for sweep in checked for case in sweep.plan}
    if "wrap" in modes and "wrap" not in used:
        raise nothing_wraps()
    return tuple(sweep for sweep in checked if len(sweep.plan))


def _sweep(
    name: str,
    options: SweepOptions | TuneOptions,
    placements: tuple[str, ...] = (AXES["placement"].default,),
    protocols: tuple[str, ...] = (AXES["protocol"].default,),
    modes: tuple[str, ...] = (AXES["check"].default,),
) -> Sweep:
    plan = build_plan(
        _sizes(options),
        tuple(OTHER_NAMES.get(one, one) for one in _chosen("dtype", options.dtype)),
        _chosen("op", options.op),
        placements,
        _chosen("buffers", options.buffers),
        protocols,
        modes,
        size_key="min" if options.sizes is None else "sizes",
    )
    return Sweep(name, (), (), None, None, plan)


def _chosen(key: str, text: str | None) -> tuple[str, ...]:
    return (AXES[key].default,) if text is None else names(text)


def _sizes(options: SizeOptions) -> tuple[int, ...]:
    if options.sizes is not None:
        for name in ("min", "max", "factor", "step"):
            if getattr(options, name) is not None:
                raise UsageError(f"--sizes and --{name} exclude each other: give a list or a range")
        return tuple(_positive(text, "--sizes") for text in names(options.sizes))
    least, most = options.min or DEFAULT_MIN, options.max or DEFAULT_MAX
    minimum, maximum = _positive(least, "--min"), _positive(most, "--max")
    if minimum > maximum:
        raise UsageError(f"--min {least} is above --max {most}; allowed: --min at most --max")
    step = None if options.step is None else _positive(options.step, "--step")
    return sizes_from_range(minimum, maximum, options.factor, step)


def _positive(text: str, option: str) -> int:
    size = parse_size(text, option=option)
    require(size >= 1, option, text, "1 byte and more")
    return size


@dataclass(frozen=True)
class Decode:
    """The steps to measure: one for each batch of sequences."""

    model: Model
    batches: tuple[int, ...]
    context: int  # tokens that the cache of each sequence holds
    compute: Compute
    one_graph: bool  # on GPUs a whole step is one CUDA graph

    def batch_of(self, case: Case) -> int:
        """Return how many sequences the all-reduces of `case` are of."""
        return case.count // self.model.hidden_size

    def to_json(self) -> dict[str, Any]:
        """For the record, which has the model besides."""
        of_step = {key: getattr(self, key) for key in ("context", "compute", "one_graph")}
        return {"model": self.model.name, "batches": list(self.batches), **of_step}


def decode_of(options: DecodeOptions) -> Decode:
    """Check the options that only `decode` has."""
    compute = options.compute
    require(compute in COMPUTES, "--compute", repr(compute), ", ".join(COMPUTES))
    require_within("--context", options.context, 0, MOST_TOKENS)
    batches = wholes("--batch", options.batch, 1, MOST_SEQUENCES)
    model = read_model(options.model)
    ranks = options.ranks or options.virtual_ranks
    if ranks:
        shard_of(model, ranks)
    return Decode(model, batches, options.context, cast(Compute, compute), options.one_graph)


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
