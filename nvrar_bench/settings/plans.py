"""From choices to a plan: checks each, and combines all with all.

Messages name a choice as its user wrote it: `spell` makes an option of a key, or, for a case file,
leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import product
from math import inf
from typing import Any

from nvrar_bench import datatypes
from nvrar_bench.errors import UsageError
from nvrar_bench.plan import AXES, Case, CaseAxis, Plan, has_meaning
from nvrar_bench.units import MAX_BYTES, format_size

_INTEGERS = tuple(name for name, row in datatypes.DTYPES.items() if not row.is_float)

# More sizes than this come from a typing error in --step or --factor.
MAX_SIZES = 4096


def option_name(key: str) -> str:
    """Spell a choice as the command line does, where --check is a switch: `dtype` -> `--dtype`."""
    return "--check-mode" if key == "check" else f"--{key}"


def build_plan(
    sizes: Sequence[int] = (),
    dtypes: Sequence[str] = (AXES["dtype"].default,),
    ops: Sequence[str] = (AXES["op"].default,),
    placements: Sequence[str] = (AXES["placement"].default,),
    buffers: Sequence[str] = (AXES["buffers"].default,),
    protocols: Sequence[str] = (AXES["protocol"].default,),
    check_modes: Sequence[str] = (AXES["check"].default,),
    *,
    counts: Sequence[int] = (),
    spell: Callable[[str], str] = option_name,
    size_key: str = "sizes",
) -> Plan:
    """Combine everything with everything.

    Sizes are bytes per rank, rounded down to whole elements; `counts` are elements per rank, in
    place of sizes or after them. The other choices are values of AXES, or `all` where that is
    allowed; `wrap` goes with sums and products of integers alone. `size_key` says where the sizes
    came from: `sizes` or `min`.

    UsageError: a value that is not allowed, a size below one element, or `wrap` where nothing can.
    """
    given = (dtypes, ops, placements, buffers, protocols, check_modes)
    axes = zip(AXES.values(), given, strict=True)
    chosen: list[tuple[Any, ...]] = [choose(axis, values, spell) for axis, values in axes]
    if not sizes and not counts:
        raise UsageError(f"{spell(size_key)} is empty; allowed: at least one size")
    elements = {name: _elements(sizes, counts, name, spell, spell(size_key)) for name in chosen[0]}
    cases = tuple(
        Case(count * datatypes.dtype(choices[0]).itemsize, count, *choices)
        for choices in product(*chosen)
        if has_meaning(*choices)
        for count in elements[choices[0]]
    )
    if "wrap" in chosen[-1] and not any(case.check_mode == "wrap" for case in cases):
        raise nothing_wraps(spell)
    return Plan(cases)


def choose(
    axis: CaseAxis, given: Sequence[str], spell: Callable[[str], str] = option_name
) -> tuple[str, ...]:
    """Check `given` and drop repetitions; `all`, where allowed, stands for every value."""
    if not given:
        raise UsageError(f"{spell(axis.key)} is empty; allowed: {_choices(axis)}")
    for value in given:
        if value not in axis.allowed and not (axis.takes_all and value == "all"):
            raise UsageError(
                f"{spell(axis.key)} {value!r} is not allowed; allowed: {_choices(axis)}"
            )
    return tuple(dict.fromkeys(axis.allowed if "all" in given else given))


def nothing_wraps(spell: Callable[[str], str] = option_name) -> UsageError:
    """The error of a plan whose cases cannot overflow, and which is to see how they wrap."""
    return UsageError(
        f"{spell('check')} wrap is of sums and products of integers, and there is none here; "
        f"allowed: {spell('dtype')} {', '.join(_INTEGERS)} with {spell('op')} sum, prod"
    )


def sizes_from_range(
    minimum: int,
    maximum: int,
    factor: float | None = None,
    step: int | None = None,
    *,
    spell: Callable[[str], str] = option_name,
) -> tuple[int, ...]:
    """List the sizes from `minimum` up, none above `maximum`, in bytes.

    With `factor` (2 when neither is given), size k is floor(minimum * factor**k), computed exactly,
    each size once; with `step`, it is minimum + k * step.

    UsageError: an empty range, a factor that does not grow, or more than `MAX_SIZES` sizes.
    """
    if not 1 <= minimum <= maximum <= MAX_BYTES:
        raise UsageError(
            f"{spell('min')} {format_size(minimum)} {spell('max')} {format_size(maximum)}: "
            f"allowed: 1 <= min <= max < 2**63"
        )
    if factor is not None and step is not None:
        raise UsageError(f"{spell('factor')} and {spell('step')} exclude each other: give one")
    if step is not None:
        return _by_step(minimum, maximum, step, spell("step"))
    return _by_factor(minimum, maximum, 2.0 if factor is None else factor, spell("factor"))


def _by_step(minimum: int, maximum: int, step: int, option: str) -> tuple[int, ...]:
    if step < 1:
        raise UsageError(f"{option} {step} is not allowed; allowed: 1 byte and more")
    sizes = range(minimum, maximum + 1, step)
    if (maximum - minimum) // step >= MAX_SIZES:
        raise _too_many(f"{option} {format_size(step)}")
    return tuple(sizes)


def _by_factor(minimum: int, maximum: int, factor: float, option: str) -> tuple[int, ...]:
    if not 1 < factor < inf:
        raise UsageError(f"{option} {factor} is not allowed; allowed: a number above 1")
    # The factor that was written, not its binary neighbour: 1.1 is 11/10 here.
    ratio = Fraction(str(factor))
    numerator, denominator, sizes = minimum, 1, [minimum]
    for _ in range(MAX_SIZES):
        numerator, denominator = numerator * ratio.numerator, denominator * ratio.denominator
        if numerator // denominator > maximum:
            return tuple(dict.fromkeys(sizes))
        sizes.append(numerator // denominator)
    raise _too_many(f"{option} {factor}")


def _too_many(choice: str) -> UsageError:
    return UsageError(f"{choice} gives more than {MAX_SIZES} sizes, which is the most allowed")


def _elements(
    sizes: Sequence[int],
    counts: Sequence[int],
    dtype: str,
    spell: Callable[[str], str],
    size_option: str,
) -> tuple[int, ...]:
    """Element counts of one dtype, each once; two sizes may round down to the same count."""
    itemsize = datatypes.dtype(dtype).itemsize
    for size in sizes:
        if not itemsize <= size <= MAX_BYTES:
            raise UsageError(
                f"{size_option} {format_size(size)} is not allowed with {spell('dtype')} {dtype}; "
                f"allowed: {itemsize} bytes (one element) and more, below 2**63"
            )
    for count in counts:
        if not 1 <= count <= MAX_BYTES // itemsize:
            raise UsageError(
                f"{spell('counts')} {count} is not allowed with {spell('dtype')} {dtype}; "
                f"allowed: 1 element and more, below 2**63 bytes"
            )
    return tuple(dict.fromkeys((*(size // itemsize for size in sizes), *counts)))


def _choices(axis: CaseAxis) -> str:
    return ", ".join((*axis.allowed, "all") if axis.takes_all else axis.allowed)
