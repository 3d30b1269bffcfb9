"""From the options of `sweep`, `check`, `tune` and `decode` to the settings of a run.

Everything is checked here that can be checked before the ranks meet.
"""

from __future__ import annotations

from dataclasses import replace

from nvrar_bench import backends, devices, networks
from nvrar_bench.backends.nvrar.tuning import Tuning
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.decode import decode_of, decode_sweep
from nvrar_bench.settings.late import Late, late_of
from nvrar_bench.settings.launching import batch_of, require_fabric, tuning_of
from nvrar_bench.settings.measure_options import CheckingOptions, PrecisionOptions
from nvrar_bench.settings.options import (
    CheckOptions,
    DecodeOptions,
    RunOptions,
    SweepOptions,
    TuneOptions,
)
from nvrar_bench.settings.search import search_of
from nvrar_bench.settings.settings import Settings
from nvrar_bench.settings.soak import soak_limit, soak_plan
from nvrar_bench.settings.sweeps import checked_by, file_sweeps, sweeps_of, tuned_sweep
from nvrar_bench.settings.values import names, part, require
from nvrar_bench.timing.stopping import Stopping

STARTS = ("auto", "clock", "barrier")
# More comes from a typing error: a launch takes seconds.
MAX_LAUNCHES = 1000
_WARMUP = 20  # calls of a launch that `tune` tries
_STEPS = 100  # samples of `decode`: a step is many calls
MAX_CALLS = 10_000_000
_LEAST_PRECISION, _WORST_PRECISION = 0.0001, 0.5
_FEWEST = 6  # samples of which the median has an interval


def sweep_settings(options: SweepOptions) -> Settings:
    """Return the settings of `sweep`.

    Raises:
        UsageError: naming the option, the value and what is allowed.
        CaseFileError: likewise, of the case file.
    """
    check, asked = _is_checked(options), names(options.backend)
    _require_common(options, asked)
    stopping = stopping_of(options.iters, options)
    _require_starts(options)
    settings = _settings(options, asked, sweeps_of(options))
    _require_launches(options)
    late = _late(options)
    if late and (options.batch not in (None, 1) or options.graph != 1):
        raise UsageError(
            f"--late {options.late}: of a sample of several calls only the first would begin late; "
            "leave --batch and --graph out"
        )
    return replace(
        settings,
        stopping=stopping,
        start=options.start,
        warmup=options.warmup,
        check=check,
        late=late,
        one_state=options.one_state or options.max_launches is not None,
        wrap_asked="wrap" in names(options.check_mode),
        tuning=tuning_of(options),
        batch=1 if late else batch_of(options.batch, options.graph),
        graph=options.graph,
        cold_cache=options.cold_cache,
    )


def check_settings(options: CheckOptions) -> Settings:
    """Return the settings of `check`: each case once, or a soak.

    Raises:
        UsageError: naming the option, the value and what is allowed.
        CaseFileError: likewise, of the case file.
    """
    asked = names(options.backend)
    _require_common(options, asked)
    sweeps = file_sweeps(options.case or "correctness")
    common = _settings(options, asked, sweeps)
    settings = replace(common, stopping=Stopping(1), warmup=0, tuning=tuning_of(options))
    soak = soak_limit(options)
    if soak is not None:
        return replace(settings, sweeps=(Sweep("soak", (), (), 1, 0, soak_plan()),), soak=soak)
    if options.check_mode is not None:
        sweeps = checked_by(sweeps, options.check_mode)
    return replace(
        settings,
        sweeps=tuple(replace(sweep, iters=1, warmup=0) for sweep in sweeps),
        wrap_asked="wrap" in names(options.check_mode),
        stop_at_wrong=False,
        interleave=False,
        batch=1,
    )


def tune_settings(options: TuneOptions) -> Settings:
    """Return the settings of `tune`; no table has a say in them.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    asked = (options.backend,)
    _require_common(options, asked)
    return replace(
        _settings(options, asked, (tuned_sweep(options),)),
        tuning=Tuning(mapped_nodes=options.mapped_nodes),
        batch=batch_of(options.batch, options.graph),
        graph=options.graph,
        tune=search_of(options),
    )


def decode_settings(options: DecodeOptions) -> Settings:
    """Return the settings of `decode`: a sample is one step.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    check, asked = _is_checked(options), names(options.backend)
    _require_common(options, asked)
    _require_starts(options)
    if "fake" in asked and len(set(asked)) > 1:
        raise UsageError(
            f"--backend {options.backend}: fake has a clock of its own, by which nothing else of a "
            "step goes; allowed: fake alone"
        )
    decode = decode_of(options)
    return replace(
        _settings(options, asked, (decode_sweep(options, decode),)),
        stopping=stopping_of(options.iters, options, _STEPS),
        start=options.start,
        warmup=options.warmup,
        check=check,
        late=_late(options),
        tuning=tuning_of(options),
        batch=1,
        decode=decode,
    )


def _settings(options: RunOptions, asked: tuple[str, ...], sweeps: tuple[Sweep, ...]) -> Settings:
    """Return the settings that all commands have, and elsewhere what `tune` measures with."""
    require_fabric(options)
    return Settings(
        sweeps=sweeps,
        backends=asked,
        device=options.device,
        stopping=Stopping(is_default=True),
        warmup=_WARMUP,
        check=True,
        nodes=options.nodes,
        timeout=options.timeout,
        seed=options.seed,
        virtual_ranks=options.virtual_ranks,
        share_gpu=options.share_gpu,
        network=options.network,
    )


def _require_common(options: RunOptions, asked: tuple[str, ...]) -> None:
    """Check the options that each command has."""
    nodes, ranks, seconds = options.nodes, options.ranks, options.timeout
    devices.require_known(options.device)
    require(nodes is None or nodes >= 1, "--nodes", nodes, "a whole number from 1 up")
    require(ranks is None or 1 <= ranks <= 4096, "--ranks", ranks, "1 to 4096")
    allowed = "more than 0, at most 86400 seconds"
    require(0 < seconds <= 86400, "--timeout", f"{seconds:g}", allowed)
    # Under --launcher or mpirun the number of ranks is known only to the ranks.
    if nodes and ranks:
        fitting = ", ".join(str(n) for n in range(1, ranks + 1) if ranks % n == 0)
        require(ranks % nodes == 0, "--nodes", nodes, f"what divides {ranks} ranks: {fitting}")
    require(0 <= options.seed < 2**31, "--seed", options.seed, "0 to 2147483647")
    backends.require_known(asked)
    if options.network is not None:
        networks.require_known(options.network)


def _require_starts(options: SweepOptions | DecodeOptions) -> None:
    """Check --warmup and --start."""
    require(0 <= options.warmup <= MAX_CALLS, "--warmup", options.warmup, f"0 to {MAX_CALLS}")
    require(options.start in STARTS, "--start", options.start, ", ".join(STARTS))


def _late(options: SweepOptions | DecodeOptions) -> Late | None:
    late = late_of(options.late, options.ranks, options.timeout)
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
    require(1 <= launches <= MAX_LAUNCHES, "--launches", launches, f"1 to {MAX_LAUNCHES}")
    if most is None:
        return
    if launches == 1:
        raise UsageError(
            f"--max-launches {most} needs --launches N, 2 or more: how many launches are "
            "to find the machine in one state"
        )
    allowed = f"{launches}, the --launches, to {MAX_LAUNCHES}"
    require(launches <= most <= MAX_LAUNCHES, "--max-launches", most, allowed)


def stopping_of(
    iters: int | None, options: PrecisionOptions, usual: int = Stopping.iters
) -> Stopping:
    """Check --iters, or --precision and its bounds; `usual` is how many where neither is given.

    Raises:
        UsageError: naming the option, the value and what is allowed.
    """
    precision = options.precision
    if precision is None:
        _require_no_bounds(options)
        if iters is None:
            return Stopping(usual, is_default=True)
        require(1 <= iters <= MAX_CALLS, "--iters", iters, f"1 to {MAX_CALLS}")
        return Stopping(iters)
    if iters is not None:
        raise UsageError(
            f"--iters {iters} and --precision {precision} exclude each other: give a "
            "number of calls, or how well the median must be known"
        )
    return _precise(options, precision)


def _require_no_bounds(options: PrecisionOptions) -> None:
    given = {
        "--min-samples": options.min_samples,
        "--max-samples": options.max_samples,
        "--max-time": options.max_time,
    }
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} {value:g} bounds --precision, which is not given")


def _precise(options: PrecisionOptions, precision: str) -> Stopping:
    least = Stopping.min_samples if options.min_samples is None else options.min_samples
    most = Stopping.max_samples if options.max_samples is None else options.max_samples
    seconds = Stopping.max_time if options.max_time is None else options.max_time
    require(_FEWEST <= least <= MAX_CALLS, "--min-samples", least, f"{_FEWEST} to {MAX_CALLS}")
    require(least <= most <= MAX_CALLS, "--max-samples", most, f"{least} to {MAX_CALLS}")
    require(0 < seconds <= 86400, "--max-time", f"{seconds:g}", "more than 0, at most 86400")
    target = part("--precision", precision, _LEAST_PRECISION, _WORST_PRECISION)
    return Stopping(precision=target, min_samples=least, max_samples=most, max_time=seconds)
