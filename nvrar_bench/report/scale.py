"""Axes: where a value lies on one, from 0 to 1, and what is written beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

Tick = tuple[float, str]

_TICKS = 6  # of an axis that is read upwards, about
_FEW_TICKS = 3  # else an axis has the next of _LEADS
_LEADS = ((1,), (1, 2, 5), tuple(range(1, 10)))
_LEAST_SPAN = 4.0  # of a logarithmic axis, from end to end: one value is not a line across
_ROOM = 1.12  # beyond the outermost values, as a factor


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`; a logarithmic one has both above 0."""

    low: float
    high: float
    is_log: bool
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return where `value` lies: 0 at `low`, 1 at `high`, never beyond."""
        if not self.is_log:
            part = (value - self.low) / (self.high - self.low)
        elif value <= self.low:
            part = 0.0
        else:
            part = log10(value / self.low) / log10(self.high / self.low)
        return min(max(part, 0.0), 1.0)


def logarithmic(values: Sequence[float]) -> Scale:
    """Make an axis for `values`, all above 0, with ticks at round numbers."""
    low, high = _span(values)
    found = (_round_numbers(low, high, leads) for leads in _LEADS)
    places = next((places for places in found if len(places) >= _FEW_TICKS), [])
    return Scale(low, high, True, tuple((value, number(value)) for value in places))


def linear(values: Sequence[float]) -> Scale:
    """Make an axis from 0 for `values`, none below 0, with ticks at even numbers."""
    most = max(values) or 1.0
    step = _even(most / _TICKS)
    steps = ceil(most * (1 + 1e-9) / step)
    ticks = tuple((i * step, number(i * step)) for i in range(steps + 1))
    return Scale(0.0, steps * step, False, ticks)


def of_sizes(sizes: Sequence[float], write: Callable[[int], str], letters: float) -> Scale:
    """Make a logarithmic axis with ticks at `sizes`, as many as leave room for their texts.

    `letters` is how many letters fit beside each other along the axis.
    """
    low, high = _span(sizes)
    axis = Scale(low, high, True, ())
    ticks = list(_spaced(axis, sorted(set(sizes)), write, letters))
    return Scale(low, high, True, tuple(ticks))


def number(value: float) -> str:
    """Write the number at a tick."""
    return f"{value:.12g}" if 1e-4 <= value < 1e6 or value == 0 else f"{value:.6g}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values) / _ROOM, max(values) * _ROOM
    missing = (_LEAST_SPAN / (high / low)) ** 0.5
    return (low / missing, high * missing) if missing > 1 else (low, high)


def _round_numbers(low: float, high: float, leads: Sequence[int]) -> list[float]:
    """Return `leads` times powers of ten; of many powers, every second or third and so on."""
    every = max(1, ceil(log10(high / low) / _TICKS))
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    places = (lead * 10.0**power for power in powers if power % every == 0 for lead in leads)
    return [place for place in places if low <= place <= high]


def _even(step: float) -> float:
    """Return the least 1, 2 or 5 times a power of ten that is no less than `step`."""
    power = 10.0 ** floor(log10(step))
    return next(lead * power for lead in (1, 2, 5, 10) if lead * power >= step * (1 - 1e-9))


def _spaced(
    axis: Scale, sizes: Sequence[float], write: Callable[[int], str], letters: float
) -> Iterator[Tick]:
    free = 0.0
    for size in sizes:
        text = write(int(size))
        half = (len(text) + 1) / 2 / letters
        place = axis.place(size)
        if place - half >= free or free == 0.0:
            yield size, text
            free = place + half
