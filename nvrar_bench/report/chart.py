"""Charts as SVG: lines over message size with their intervals, and groups of bars of two parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from xml.etree.ElementTree import Element

from nvrar_bench.report.html import element
from nvrar_bench.units import format_size

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


_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP = 58, 12, 14
_FLOOR = _HEIGHT - 44  # where charts stand
_LETTER = 7.2  # width of a letter beside an axis
_MARK_ABOVE = 9
_CAP = 3.5  # half of the line that ends an interval

# About (0, 0), and different without colour. As many as have no factor in common with _COLOURS, so
# that two lines have the same pair only after all pairs are used.
_MARKERS = (
    "M-4,0A4,4 0 1,0 4,0A4,4 0 1,0 -4,0Z",
    "M-3.6,-3.6H3.6V3.6H-3.6Z",
    "M0,-4.8L4.6,3.6H-4.6Z",
    "M0,-5.2L5.2,0L0,5.2L-5.2,0Z",
    "M0,4.8L4.6,-3.6H-4.6Z",
)
_DASHES = (None, "7 3", "2 3", "9 3 2 3", "4 2")
_COLOURS = 6  # classes c0 to c5 of page.css


@dataclass(frozen=True)
class ChartPoint:
    """A result: its size in bytes, its value, the interval of that, and all of it in words."""

    size: int
    value: float
    low: float | None
    high: float | None
    text: str
    is_wrong: bool
    mark: str = ""  # what ran there, where a line has several

    @property
    def values(self) -> tuple[float, ...]:
        """Return what the axis must have room for."""
        return tuple(v for v in (self.low, self.value, self.high) if v is not None)


@dataclass(frozen=True)
class ChartLine:
    """The points of one series, by size; `look` numbers its colour, marker and dashes."""

    label: str
    look: int
    points: tuple[ChartPoint, ...]


def draw(lines: Sequence[ChartLine], values: Scale, title: str, unit: str) -> Element:
    """Return the chart of `lines`, which have a point at least; `unit` is written at the axis."""
    room = (_WIDTH - _LEFT - _RIGHT) / _LETTER
    sizes = of_sizes([point.size for line in lines for point in line.points], format_size, room)
    texts = element("title", title), _text(4, _TOP - 3, unit, "start")
    ticks = *_value_ticks(values), *_size_ticks(sizes)
    drawn = (_line(each, sizes, values) for each in lines)
    return _svg(title, *texts, *ticks, *drawn)


def _svg(title: str, *content: Element) -> Element:
    seen = {"class_": "chart", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}"}
    return element("svg", *content, **seen, role="img", aria_label=title)


def key(line: ChartLine) -> Element:
    """Return a legend's entry."""
    stroke = element("path", d="M0,7H32", class_="line", stroke_dasharray=_dashes(line))
    marker = element("path", d=_marker(line), class_="marker", transform="translate(16 7)")
    seen = {"class_": _colour(line), "viewBox": "0 0 32 14", "width": 32, "height": 14}
    sample = element("svg", stroke, marker, **seen, aria_hidden="true")
    return element("li", sample, " ", line.label)


def _value_ticks(scale: Scale) -> Iterator[Element]:
    for value, text in scale.ticks:
        y = _y(scale, value)
        yield element("path", d=f"M{_LEFT},{y:.1f}H{_WIDTH - _RIGHT}", class_="grid")
        yield _text(_LEFT - 6, y + 4, text, "end")


def _size_ticks(scale: Scale) -> Iterator[Element]:
    yield element("path", d=f"M{_LEFT},{_FLOOR}H{_WIDTH - _RIGHT}", class_="axis")
    for size, text in scale.ticks:
        x = _x(scale, size)
        yield element("path", d=f"M{x:.1f},{_FLOOR}v5", class_="axis")
        yield _text(x, _FLOOR + 18, text, "middle")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield _text(middle, _HEIGHT - 6, "message size, bytes per rank", "middle")


def _line(line: ChartLine, sizes: Scale, values: Scale) -> Element:
    corners = [(_x(sizes, p.size), _y(values, p.value)) for p in line.points]
    path = "L".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    stroke = element("path", d=f"M{path}", class_="line", stroke_dasharray=_dashes(line))
    points = (_point(point, line, sizes, values) for point in line.points)
    return element("g", stroke, *points, *_marks(line, sizes, values), class_=_colour(line))


def _point(point: ChartPoint, line: ChartLine, sizes: Scale, values: Scale) -> Element:
    x, y = _x(sizes, point.size), _y(values, point.value)
    bar = []
    if point.low is not None and point.high is not None:
        low, high = _y(values, point.low), _y(values, point.high)
        cap = f"m{-_CAP},0h{2 * _CAP}"
        shape = f"M{x:.1f},{low:.1f}V{high:.1f}{cap}M{x:.1f},{low:.1f}{cap}"
        bar = [element("path", d=shape, class_="interval")]
    style = "marker wrong" if point.is_wrong else "marker"
    marker = element("path", d=_marker(line), class_=style, transform=f"translate({x:.1f} {y:.1f})")
    return element("g", element("title", point.text), *bar, marker)


def _marks(line: ChartLine, sizes: Scale, values: Scale) -> Iterator[Element]:
    """Write what ran, from each point on where that changes."""
    before = ""
    for point in line.points:
        if point.mark != before:
            y = _y(values, point.high if point.high is not None else point.value)
            yield _text(_x(sizes, point.size), y - _MARK_ABOVE, point.mark, "middle")
        before = point.mark


def _text(x: float, y: float, text: str, anchor: str) -> Element:
    """Write at a place; `anchor` is the part of the text that stands there."""
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _x(scale: Scale, value: float) -> float:
    return _LEFT + scale.place(value) * (_WIDTH - _LEFT - _RIGHT)


def _y(scale: Scale, value: float) -> float:
    return _FLOOR - _height(scale, value)


def _height(scale: Scale, value: float) -> float:
    return scale.place(value) * (_FLOOR - _TOP - 6)


def _colour(line: ChartLine) -> str:
    return f"c{line.look % _COLOURS}"


def _marker(line: ChartLine) -> str:
    return _MARKERS[line.look % len(_MARKERS)]


def _dashes(line: ChartLine) -> str | None:
    return _DASHES[line.look % len(_DASHES)]


_GAP = 0.35  # between groups, in bars


@dataclass(frozen=True)
class Bar:
    """A bar of a group, in its place there: its lower part, all of it, and all of it in words."""

    place: int
    lower: float
    whole: float
    text: str


def draw_bars(
    groups: Sequence[tuple[str, Sequence[Bar]]], places: int, title: str, axes: tuple[str, str]
) -> Element:
    """Return the chart of `groups`, each with its text; there are so many `places` in a group.

    `axes` are what is written at the horizontal and at the vertical one.
    """
    scale = linear([bar.whole for _, bars in groups for bar in bars])
    width = (_WIDTH - _LEFT - _RIGHT) / max(1.0, len(groups) * (places + _GAP))
    parts = list(_value_ticks(scale))
    for i, (text, bars) in enumerate(groups):
        left = _LEFT + i * width * (places + _GAP)
        parts += [_bar(bar, scale, left + bar.place * width, width) for bar in bars]
        parts.append(_text(left + width * places / 2, _FLOOR + 18, text, "middle"))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 6, axes[0], "middle"))
    return _svg(title, element("title", title), _text(4, _TOP - 2, axes[1], "start"), *parts)


def _bar(bar: Bar, scale: Scale, x: float, width: float) -> Element:
    lower, whole = _height(scale, bar.lower), _height(scale, bar.whole)
    there, back = f"h{0.9 * width:.1f}", f"h-{0.9 * width:.1f}Z"
    below = f"M{x:.1f},{_FLOOR}{there}v-{lower:.1f}{back}"
    above = f"M{x:.1f},{_FLOOR - lower:.1f}{there}v-{whole - lower:.1f}{back}"
    parts = element("path", d=below, class_="work"), element("path", d=above, class_="comm")
    return element("g", element("title", bar.text), *parts, class_=f"c{bar.place % _COLOURS}")


def bar_key(label: str, place: int) -> Element:
    """Return a legend's entry of the bars in a place."""
    square = element("path", d="M0,2H14V14H0Z", class_="comm")
    seen = {"class_": f"c{place % _COLOURS}", "viewBox": "0 0 14 14", "width": 14, "height": 14}
    return element("li", element("svg", square, **seen, aria_hidden="true"), " ", label)
