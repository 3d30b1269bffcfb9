"""From the texts of the command line to the settings of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from nvrar_bench.backends import require_known
from nvrar_bench.cli.launching import Launching
from nvrar_bench.cli.nccl_tests import OUR_NAMES
from nvrar_bench.cli.network import require_network
from nvrar_bench.cli.stopping import MAX_CALLS, StopAt
from nvrar_bench.errors import CaseFileError, UsageError
from nvrar_bench.plan import AXES, Plan, nothing_wraps, sizes_from_range
from nvrar_bench.run.soak_plan import SoakLimit, soak_plan
from nvrar_bench.settings.casefile import Sweep, read_case_file
from nvrar_bench.settings.options import names, require, require_common
from nvrar_bench.settings.settings import Settings
from nvrar_bench.units import parse_size

DEFAULT_MIN = "128K"
DEFAULT_MAX = "2M"
STARTS = ("auto", "clock", "barrier")

_SOAK = re.compile(r"([0-9]{1,12})([smh]?)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Wish:
    """What to run, as written; None where the user left it out."""

    min: str | None = None
    max: str | None = None
    factor: float | None = None
    step: str | None = None
    sizes: str | None = None
    case: str | None = None
    dtype: str | None = None
    op: str | None = None
    in_place: bool | None = None
    buffers: str | None = None
    protocol: str | None = None
    check_mode: str | None = None

    def given(self, *but: str) -> list[str]:
        """Options that were written, less those in `but`."""
        written = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in written if name not in but]


def settings_of(
    wish: Wish, *, backends: tuple[str, ...], device: str, stop_at: StopAt, warmup: int,
    check: bool, nodes: int | None, timeout: float, seed: int, ranks: int | None,
    launching: Launching | None = None, start: str = "auto", follow_table: bool = True,
    one_state: bool = False, network: str | None = None,
) -> Settings:  # fmt: skip
    """Check everything that can be checked before the ranks meet.

    Raises:
        UsageError: naming the option, the value and what is allowed.
        CaseFileError: likewise, of the case file.
    """
    require_common(device, nodes, ranks, timeout)
    stopping = stop_at.stopping()
    require(0 <= warmup <= MAX_CALLS, "--warmup", warmup, f"0 to {MAX_CALLS}")
    require(start in STARTS, "--start", start, ", ".join(STARTS))
    require(0 <= seed < 2**31, "--seed", seed, "0 to 2147483647")
    require_known(backends)
    require_network(network)
    sweeps = _sweeps(wish)
    chosen = (launching or Launching()).settings(device, ranks, nodes, follow_table)
    return Settings(
        sweeps=sweeps, backends=backends, device=device, stopping=stopping, start=start,
        warmup=warmup, check=check, nodes=nodes, timeout=timeout, seed=seed, one_state=one_state,
        network=network,
        wrap_asked="wrap" in names(wish.check_mode or ""), **chosen,
    )  # fmt: skip


def checked_by(planned: Settings, check_mode: str | None) -> Settings:
    """Return settings with these check modes in place of the case file's, if any are given.

    Raises:
        UsageError: a mode that does not exist, or `wrap` where nothing wraps.
    """
    if check_mode is None:
        return planned
    modes = AXES["check"].choose(names(check_mode), _spell)
    sweeps = [replace(one, plan=one.plan.checked_by(modes)) for one in planned.sweeps]
    used = {case.check_mode for sweep in sweeps for case in sweep.plan}
    if "wrap" in modes and "wrap" not in used:
        raise nothing_wraps(_spell)
    kept = tuple(sweep for sweep in sweeps if len(sweep.plan))
    return replace(planned, sweeps=kept, wrap_asked="wrap" in modes)


def soak_settings(
    planned: Settings, soak: str, case: str | None, check_mode: str | None
) -> Settings:
    """Return settings for a soak in place of the case file's.

    Raises:
        UsageError: a limit that is none, or a case file or check mode besides.
    """
    if case is not None:
        raise UsageError(f"--soak {soak} and --case {case} exclude each other: a soak draws cases")
    if check_mode is not None:
        raise UsageError(
            f"--soak {soak} and --check-mode {check_mode} exclude each other: a soak checks exact"
        )
    match = _SOAK.fullmatch(soak)
    allowed = "a number of calls from 1 up, or a duration such as 90s, 10m, 2h"
    require(match is not None and int(match[1]) >= 1, "--soak", soak, allowed)
    assert match is not None  # noqa: S101 - for the type checker
    amount, unit = int(match[1]), match[2]
    limit = SoakLimit(seconds=amount * _SECONDS[unit]) if unit else SoakLimit(calls=amount)
    return replace(planned, sweeps=(Sweep("soak", (), (), 1, 0, soak_plan()),), soak=limit)


def _sweeps(wish: Wish) -> tuple[Sweep, ...]:
    if wish.case is None:
        return (Sweep("sweep", (), (), None, None, _plan(wish)),)
    if wish.given("case"):
        raise UsageError(
            f"--case and {wish.given('case')[0]} exclude each other: the case file says what to run"
        )
    try:
        sweeps = read_case_file(wish.case)
        for sweep in sweeps:
            require_known(sweep.backends, f"{wish.case}: sweep {sweep.name}: backends")
    except UsageError as error:
        text = str(error)
        raise CaseFileError(text if text.startswith("--case ") else f"--case {text}") from None
    return sweeps


def _plan(wish: Wish) -> Plan:
    def chosen(key: str, text: str | None) -> tuple[str, ...]:
        return (AXES[key].default,) if text is None else names(text)

    return Plan.build(
        _sizes(wish),
        tuple(OUR_NAMES.get(name, name) for name in chosen("dtype", wish.dtype)),
        chosen("op", wish.op),
        ("in_place",) if wish.in_place else ("out_of_place",),
        chosen("buffers", wish.buffers),
        chosen("protocol", wish.protocol),
        chosen("check", wish.check_mode),
        spell=_spell,
        size_key="min" if wish.sizes is None else "sizes",
    )


def _spell(key: str) -> str:
    return "--check-mode" if key == "check" else f"--{key}"


def _sizes(wish: Wish) -> tuple[int, ...]:
    if wish.sizes is not None:
        others = [name for name in wish.given() if name in ("--min", "--max", "--factor", "--step")]
        if others:
            raise UsageError(f"--sizes and {others[0]} exclude each other: give a list or a range")
        return tuple(_positive(text, "--sizes") for text in names(wish.sizes))
    least, most = wish.min or DEFAULT_MIN, wish.max or DEFAULT_MAX
    minimum, maximum = _positive(least, "--min"), _positive(most, "--max")
    if minimum > maximum:
        raise UsageError(f"--min {least} is above --max {most}; allowed: --min at most --max")
    step = None if wish.step is None else _positive(wish.step, "--step")
    return sizes_from_range(minimum, maximum, wish.factor, step)


def _positive(text: str, option: str) -> int:
    size = parse_size(text, option=option)
    require(size >= 1, option, text, "1 byte and more")
    return size
