"""What to measure: the sweep that the options describe, or those of a case file."""

from __future__ import annotations

from dataclasses import fields, replace

from nvrar_bench.backends import require_known
from nvrar_bench.errors import CaseFileError, UsageError
from nvrar_bench.plan import AXES, Plan
from nvrar_bench.settings.casefile import Sweep, read_case_file
from nvrar_bench.settings.measure_options import CaseOptions, CheckModeOption, SizeOptions
from nvrar_bench.settings.options import SweepOptions, TuneOptions
from nvrar_bench.settings.plans import build_plan, choose, nothing_wraps, sizes_from_range
from nvrar_bench.settings.values import names, require
from nvrar_bench.units import parse_size

DEFAULT_MIN = "128K"
DEFAULT_MAX = "2M"
OTHER_NAMES = {
    "double": "float64",
    "float": "float32",
    "half": "float16",
    "f8e4m3": "float8_e4m3",
    "f8e5m2": "float8_e5m2",
}


def sweeps_of(options: SweepOptions) -> tuple[Sweep, ...]:
    """Return the sweep of the options, or those of --case.

    Raises:
        UsageError: naming the option, the value and what is allowed.
        CaseFileError: likewise, of the case file.
    """
    if options.case is None:
        return (Sweep("sweep", (), (), None, None, _plan(options)),)
    given = _given(options, SizeOptions, CaseOptions, CheckModeOption)
    if given:
        raise UsageError(
            f"--case and {given[0]} exclude each other: the case file says what to run"
        )
    return file_sweeps(options.case)


def file_sweeps(case: str) -> tuple[Sweep, ...]:
    """Read the case file.

    Raises:
        CaseFileError: naming the file, the key and what is allowed.
    """
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
    choices = _sizes(options), _dtypes(options.dtype), _chosen("op", options.op)
    buffers = _chosen("buffers", options.buffers)
    plan = build_plan(*choices, buffers=buffers, spell=_spell, size_key=_size_key(options))
    return Sweep("tune", (), (), None, None, plan)


def checked_by(sweeps: tuple[Sweep, ...], check_mode: str) -> tuple[Sweep, ...]:
    """Return the sweeps with these check modes in place of the case file's.

    Raises:
        UsageError: a mode that does not exist, or `wrap` where nothing wraps.
    """
    modes = choose(AXES["check"], names(check_mode), _spell)
    checked = [replace(sweep, plan=sweep.plan.checked_by(modes)) for sweep in sweeps]
    used = {case.check_mode for sweep in checked for case in sweep.plan}
    if "wrap" in modes and "wrap" not in used:
        raise nothing_wraps(_spell)
    return tuple(sweep for sweep in checked if len(sweep.plan))


def _plan(options: SweepOptions) -> Plan:
    return build_plan(
        _sizes(options),
        _dtypes(options.dtype),
        _chosen("op", options.op),
        ("in_place",) if options.in_place else ("out_of_place",),
        _chosen("buffers", options.buffers),
        _chosen("protocol", options.protocol),
        _chosen("check", options.check_mode),
        spell=_spell,
        size_key=_size_key(options),
    )


def _chosen(key: str, text: str | None) -> tuple[str, ...]:
    return (AXES[key].default,) if text is None else names(text)


def _dtypes(text: str | None) -> tuple[str, ...]:
    return tuple(OTHER_NAMES.get(name, name) for name in _chosen("dtype", text))


def _spell(key: str) -> str:
    # A case file has the key `check`; on the command line --check is a switch.
    return "--check-mode" if key == "check" else f"--{key}"


def _given(
    options: SweepOptions, *groups: type[SizeOptions | CaseOptions | CheckModeOption]
) -> list[str]:
    """Return the options of `groups` that were written."""
    names_of_fields = [each.name for group in groups for each in fields(group)]
    written = [name for name in names_of_fields if getattr(options, name) is not None]
    return [f"--{name.replace('_', '-')}" for name in written]


def _size_key(options: SizeOptions) -> str:
    return "min" if options.sizes is None else "sizes"


def _sizes(options: SizeOptions) -> tuple[int, ...]:
    if options.sizes is not None:
        return _listed(options, options.sizes)
    least, most = options.min or DEFAULT_MIN, options.max or DEFAULT_MAX
    minimum, maximum = _positive(least, "--min"), _positive(most, "--max")
    if minimum > maximum:
        raise UsageError(f"--min {least} is above --max {most}; allowed: --min at most --max")
    step = None if options.step is None else _positive(options.step, "--step")
    return sizes_from_range(minimum, maximum, options.factor, step)


def _listed(options: SizeOptions, sizes: str) -> tuple[int, ...]:
    for name in ("min", "max", "factor", "step"):
        if getattr(options, name) is not None:
            raise UsageError(f"--sizes and --{name} exclude each other: give a list or a range")
    return tuple(_positive(text, "--sizes") for text in names(sizes))


def _positive(text: str, option: str) -> int:
    size = parse_size(text, option=option)
    require(size >= 1, option, text, "1 byte and more")
    return size
