"""A soak: what it may draw, and when it ends, as --soak says."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import AXES, Plan
from nvrar_bench.settings.options import CheckOptions
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.settings.values import require

# Elements: of the one type that also gets messages of several windows, and of the others.
_LONGEST = {"float32": 400_000}
_OTHERS = 16_384

_AMOUNT = re.compile(r"([0-9]{1,12})([smh]?)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class SoakLimit:
    """When a soak ends: after so many calls, or seconds."""

    calls: float = math.inf
    seconds: float = math.inf

    def __str__(self) -> str:
        if math.isfinite(self.calls):
            return f"{self.calls:.0f} calls"
        return f"{self.seconds:g} s"


def longest_counts() -> dict[str, int]:
    """Elements of the longest message of each dtype."""
    return {name: _LONGEST.get(name, _OTHERS) for name in DTYPES}


def soak_plan() -> Plan:
    """What a soak needs at most: for the memory that is set aside."""
    return build_plan(
        counts=(longest_counts()["float32"],),
        buffers=AXES["buffers"].allowed,
        protocols=("signal", "packet"),
    )


def soak_limit(options: CheckOptions) -> SoakLimit | None:
    """Read --soak, which goes with no case file and no check mode; None where it is not given."""
    soak, case, check_mode = options.soak, options.case, options.check_mode
    if soak is None:
        return None
    # Both say what to run; to drop one in silence would run something else than asked for.
    if case is not None:
        raise UsageError(f"--soak {soak} and --case {case} exclude each other: a soak draws cases")
    if check_mode is not None:
        raise UsageError(
            f"--soak {soak} and --check-mode {check_mode} exclude each other: a soak checks exact"
        )
    match = _AMOUNT.fullmatch(soak)
    amount, unit = (int(match[1]), match[2]) if match else (0, "")
    allowed = "a number of calls from 1 up, or a duration such as 90s, 10m, 2h"
    require(amount >= 1, "--soak", soak, allowed)
    return SoakLimit(seconds=amount * _SECONDS[unit]) if unit else SoakLimit(calls=amount)
