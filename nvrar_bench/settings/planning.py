"""From the options of `sweep`, `check`, `tune` and `decode` to the settings of a run.

Everything is checked here that can be checked before the ranks meet. What is wrong is a UsageError
that names the option, the value and what is allowed; in a case file it is a CaseFileError.
"""

from __future__ import annotations

from dataclasses import replace

from nvrar_bench import backends, devices, networks
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.errors import UsageError
from nvrar_bench.settings import values
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.launching import batch_of, require_fabric, search_of, tuning_of
from nvrar_bench.settings.measure_options import CheckingOptions, PrecisionOptions
from nvrar_bench.settings.options import (
    CheckOptions,
    DecodeOptions,
    RunOptions,
    SweepOptions,
    TuneOptions,
)
from nvrar_bench.settings.settings import Settings
from nvrar_bench.settings.soak import soak_limit, soak_plan
from nvrar_bench.settings.sweeps import (
    checked_by,
    decode_of,
    decode_sweep,
    file_sweeps,
    sweeps_of,
    tuned_sweep,
)
from nvrar_bench.timing.stopping import Stopping

STARTS = ("auto", "clock", "barrier")
# More comes from a typing error: a launch takes seconds.
MAX_LAUNCHES = 1000
_WARMUP = 20  # calls of a launch that `tune` tries
_STEPS = 100  # samples of `decode`: a step is many calls
MAX_CALLS = 10_000_000
_PRECISIONS = (0.0001, 0.5)  # the best and the worst
_FEWEST = 6  # samples of which the median has an interval


def sweep_settings(options: SweepOptions) -> Settings:
    """Return the settings of `sweep`."""
    settings = _timed(
        _settings(options, values.names(options.backend), sweeps_of(options)), options
    )
    _require_launches(options)
    late = settings.late
    if late and (options.batch not in (None, 1) or options.graph != 1):
        raise UsageError(
            f"--late {options.late}: of a sample of several calls only the first would begin late; "
            "leave --batch and --graph out"
        )
    return replace(
        settings,
        one_state=options.one_state or options.max_launches is not None,
        wrap_asked="wrap" in values.names(options.check_mode),
        batch=1 if late else batch_of(options.batch, options.graph),
        graph=options.graph,
        cold_cache=options.cold_cache,
    )


def check_settings(options: CheckOptions) -> Settings:
    """Return the settings of `check`: each case once, or a soak."""
    sweeps = file_sweeps(options.case or "correctness")
    common = _settings(options, values.names(options.backend), sweeps)
    settings = replace(common, stopping=Stopping(1), warmup=0, tuning=tuning_of(options))
    soak = soak_limit(options)
    if soak is not None:
        return replace(settings, sweeps=(Sweep("soak", (), (), 1, 0, soak_plan()),), soak=soak)
    if options.check_mode is not None:
        sweeps = checked_by(sweeps, options.check_mode)
    return replace(
        settings,
        sweeps=tuple(replace(sweep, iters=1, warmup=0) for sweep in sweeps),
        wrap_asked="wrap" in values.names(options.check_mode),
        # All that is wrong is found, not the first of it alone; no times are compared, so backends
        # need no turns.
        stop_at_wrong=False,
        interleave=False,
        batch=1,
    )


def tune_settings(options: TuneOptions) -> Settings:
    """Return the settings of `tune`; no table has a say in them."""
    return replace(
        _settings(options, (options.backend,), (tuned_sweep(options),)),
        tuning=Tuning(mapped_nodes=options.mapped_nodes),
        batch=batch_of(options.batch, options.graph),
        graph=options.graph,
        tune=search_of(options),
    )


def decode_settings(options: DecodeOptions) -> Settings:
    """Return the settings of `decode`: a sample is one step."""
    asked = values.names(options.backend)
    if "fake" in asked and len(set(asked)) > 1:
        raise UsageError(
            f"--backend {options.backend}: fake has a clock of its own, by which nothing else of a "
            "step goes; allowed: fake alone"
        )
    decode = decode_of(options)
    settings = _settings(options, asked, (decode_sweep(options, decode),))
    return replace(_timed(settings, options, _STEPS), batch=1, decode=decode)


def _settings(options: RunOptions, asked: tuple[str, ...], sweeps: tuple[Sweep, ...]) -> Settings:
    """Return the settings that all commands have, and elsewhere what `tune` measures with."""
    nodes, ranks = options.nodes, options.ranks
    devices.require_known(options.device)
    values.require(nodes is None or nodes >= 1, "--nodes", nodes, "a whole number from 1 up")
    values.require_within("--ranks", ranks, 1, 4096)
    values.require_seconds("--timeout", options.timeout)
    # Under --launcher or mpirun the number of ranks is known only to the ranks.
    if ranks:
        values.require_divisor(nodes, ranks, "ranks")
    values.require_within("--seed", options.seed, 0, 2**31 - 1)
    backends.require_known(asked)
    if options.network is not None:
        networks.require_known(options.network)
    require_fabric(options)
    return Settings(
        sweeps=sweeps,
        backends=asked,
        device=options.device,
        stopping=Stopping(is_default=True),
        warmup=_WARMUP,
        check=True,
        nodes=nodes,
        timeout=options.timeout,
        seed=options.seed,
        virtual_ranks=options.virtual_ranks,
        share_gpu=options.share_gpu,
        network=options.network,
    )


def _timed(
    settings: Settings, options: SweepOptions | DecodeOptions, usual: int = Stopping.iters
) -> Settings:
    """Return `settings` with what the commands have that time calls or steps."""
    values.require_within("--warmup", options.warmup, 0, MAX_CALLS)
    values.require(options.start in STARTS, "--start", options.start, ", ".join(STARTS))
    return replace(
        settings,
        stopping=stopping_of(options.iters, options, usual),
        start=options.start,
        warmup=options.warmup,
        check=_is_checked(options),
        late=_late(options),
        tuning=tuning_of(options),
    )


def _late(options: SweepOptions | DecodeOptions) -> values.Late | None:
    late = values.late_of(options.late, options.ranks, options.timeout)
    if late and options.virtual_ranks is not None:
        raise UsageError(
            f"--late {options.late} and --virtual-ranks {options.virtual_ranks} exclude each "
            "other: virtual ranks are one process, which begins for all of them"
        )
    return late


def _is_checked(options: CheckingOptions) -> bool:
    """Whether to verify, by `--check|--no-check` and nccl-tests' `-c 0|1`."""
    # In nccl-tests -c is a number of checks: 0 and 1 mean the same here, more does not.
    flag = options.check_flag
    if flag is None:
        return options.check
    if flag not in ("0", "1"):
        raise UsageError(
            f"-c {flag}: allowed: 1 to verify the buffers that are timed, 0 not to; for many "
            "verified calls type: nvrar-bench check --soak N"
        )
    return flag == "1"


def _require_launches(options: SweepOptions) -> None:
    """Check --launches and --max-launches."""
    launches, most = options.launches, options.max_launches
    values.require_within("--launches", launches, 1, MAX_LAUNCHES)
    if most is None:
        return
    if launches == 1:
        raise UsageError(
            f"--max-launches {most} needs --launches N, 2 or more: how many launches are "
            "to find the machine in one state"
        )
    allowed = f"{launches}, the --launches, to {MAX_LAUNCHES}"
    values.require(launches <= most <= MAX_LAUNCHES, "--max-launches", most, allowed)


def stopping_of(
    iters: int | None, options: PrecisionOptions, usual: int = Stopping.iters
) -> Stopping:
    """Check --iters, or --precision and its bounds; `usual` is how many where neither is given."""
    precision = options.precision
    bounds = {name: getattr(options, name) for name in ("min_samples", "max_samples", "max_time")}
    given = {name: value for name, value in bounds.items() if value is not None}
    if precision is None:
        for name, value in given.items():
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} {value:g} bounds --precision, which is not given")
        if iters is None:
            return Stopping(usual, is_default=True)
        values.require_within("--iters", iters, 1, MAX_CALLS)
        return Stopping(iters)
    if iters is not None:
        raise UsageError(
            f"--iters {iters} and --precision {precision} exclude each other: give a "
            "number of calls, or how well the median must be known"
        )
    wanted = Stopping(precision=values.part("--precision", precision, *_PRECISIONS), **given)
    values.require_within("--min-samples", wanted.min_samples, _FEWEST, MAX_CALLS)
    values.require_within("--max-samples", wanted.max_samples, wanted.min_samples, MAX_CALLS)
    values.require_seconds("--max-time", wanted.max_time)
    return wanted
