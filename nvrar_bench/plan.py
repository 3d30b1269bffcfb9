"""A sweep as data: sizes x dtypes x ops x placements x ... -> immutable cases.

A plan knows no rank, no node and no backend; the same plan runs on any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import inf
from typing import Any, Literal, cast

from nvrar_bench import datatypes
from nvrar_bench.errors import UsageError
from nvrar_bench.units import MAX_BYTES, format_size

Placement = Literal["out_of_place", "in_place"]
Buffers = Literal["symmetric", "private"]
Protocol = Literal["auto", "signal", "packet"]
CheckMode = Literal["exact", "rounding", "wrap"]

_INTEGERS = tuple(name for name, row in datatypes.DTYPES.items() if not row.is_float)

# More sizes than this come from a typing error in --step or --factor, not from a wish.
MAX_SIZES = 4096


@dataclass(frozen=True)
class Axis:
    """One choice of a sweep: the name of its option or key, and the values that it may take."""

    key: str
    allowed: tuple[str, ...]
    default: str
    takes_all: bool = False

    def choose(self, given: Sequence[str], spell: Callable[[str], str]) -> tuple[str, ...]:
        """Check `given` and drop repetitions; `all`, where allowed, stands for every value."""
        if not given:
            raise UsageError(f"{spell(self.key)} is empty; allowed: {self._choices()}")
        for value in given:
            if value not in self.allowed and not (self.takes_all and value == "all"):
                raise UsageError(
                    f"{spell(self.key)} {value!r} is not allowed; allowed: {self._choices()}"
                )
        return tuple(dict.fromkeys(self.allowed if "all" in given else given))

    def _choices(self) -> str:
        return ", ".join((*self.allowed, "all") if self.takes_all else self.allowed)


AXES = {
    axis.key: axis
    for axis in (
        Axis("dtype", tuple(datatypes.DTYPES), "float32", takes_all=True),
        Axis("op", tuple(datatypes.OPS), "sum", takes_all=True),
        Axis("placement", ("out_of_place", "in_place"), "out_of_place"),
        Axis("buffers", ("symmetric", "private"), "symmetric"),
        Axis("protocol", ("auto", "signal", "packet"), "auto"),
        Axis("check", ("exact", "rounding", "wrap"), "exact"),
    )
}


@dataclass(frozen=True)
class Case:
    """One all-reduce to measure: `count` elements of `dtype` per rank, combined by `op`."""

    size_bytes: int
    count: int
    dtype: str
    op: str
    placement: Placement
    buffers: Buffers
    protocol: Protocol
    check_mode: CheckMode


def option_name(key: str) -> str:
    """Spell a choice as the command line does: `dtype` -> `--dtype`."""
    return f"--{key}"


@dataclass(frozen=True)
class Plan:
    """The cases of a sweep, in the order in which they run. The size is what changes fastest."""

    cases: tuple[Case, ...]

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    @classmethod
    def build(
        cls,
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

        Args:
            sizes: bytes per rank; each is rounded down to whole elements.
            dtypes: names in `datatypes.DTYPES`, or `all`.
            ops: names in `datatypes.OPS`, or `all`.
            placements: `out_of_place`, `in_place`.
            buffers: `symmetric`, `private`.
            protocols: `auto`, `signal`, `packet`.
            check_modes: `exact`, `rounding`, `wrap`; the last one goes with sums and products of
                integers alone.
            counts: elements per rank, in place of or after `sizes`.
            spell: writes a key as the user gave it; errors name it this way.
            size_key: where `sizes` came from: `sizes` or `min`.

        Raises:
            UsageError: a value that is not allowed, a size below one element, or `wrap` where
                nothing can.

        """
        given = (dtypes, ops, placements, buffers, protocols, check_modes)
        chosen = [
            axis.choose(values, spell) for axis, values in zip(AXES.values(), given, strict=True)
        ]
        if not sizes and not counts:
            raise UsageError(f"{spell(size_key)} is empty; allowed: at least one size")
        elements = {
            name: _elements(sizes, counts, name, spell, spell(size_key)) for name in chosen[0]
        }
        cases = tuple(
            _case(count, *choices)
            for choices in product(*chosen)
            if _has_meaning(*choices)
            for count in elements[choices[0]]
        )
        if "wrap" in chosen[-1] and not any(case.check_mode == "wrap" for case in cases):
            raise nothing_wraps(spell)
        return cls(cases)

    def checked_by(self, modes: Sequence[str]) -> Plan:
        """Return the same cases with these check modes, where they have a meaning."""
        cases = (
            replace(case, check_mode=cast(CheckMode, mode))
            for case in self.cases
            for mode in modes
            if _has_meaning(case.dtype, case.op, mode)
        )
        return Plan(tuple(dict.fromkeys(cases)))


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

    With `factor` (2 when neither is given), size k is floor(minimum * factor**k), computed
    exactly, each size once; with `step`, it is minimum + k * step.

    Raises:
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


def _has_meaning(dtype: str, op: str, *rest: str) -> bool:
    """Say whether the check mode, which comes last, has one here."""
    return rest[-1] != "wrap" or datatypes.can_wrap(dtype, op)


def _case(count: int, dtype: str, op: str, *rest: Any) -> Case:
    placement, buffers, protocol, check_mode = rest
    return Case(
        size_bytes=count * datatypes.dtype(dtype).itemsize,
        count=count,
        dtype=dtype,
        op=op,
        placement=cast(Placement, placement),
        buffers=cast(Buffers, buffers),
        protocol=cast(Protocol, protocol),
        check_mode=cast(CheckMode, check_mode),
    )
