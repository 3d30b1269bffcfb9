"""What a table of figures does not say: samples left out, skipped backends, warnings, errors.

`notes` are the few lines below a table: what was seen, at which points, and what to do. `lines`,
which --verbose shows, are all that is known; the record has them too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Any, NamedTuple

from nvrar_bench.documents.decode import TimedStep
from nvrar_bench.documents.record import Record, RunRecord
from nvrar_bench.documents.result import Check, Result
from nvrar_bench.report.columns import Series, all_series, ascii_of
from nvrar_bench.statistics.doubts import KINDS, MORE_THAN_ALL, NEARLY_ENOUGH
from nvrar_bench.units import format_micros, format_size


@dataclass(frozen=True)
class Remark:
    """A kind of remark."""

    mark: str  # what begins the line of each on the screen
    title: str  # of the section on a page; empty: it belongs above everything
    of: Callable[[Any], Iterable[str]]  # the texts on a record, without the mark
    in_results: bool  # the results of the record say it too, so that all figures show it


def lines(record: Record, remarks: Sequence[Remark] | None = None) -> Iterator[str]:
    """Say all that there is, or of some `kinds`; the worst comes last, where it is read."""
    for remark in REMARKS if remarks is None else remarks:
        yield from (remark.mark + text for text in remark.of(record))


def beside_results(record: Record) -> Iterator[str]:
    """Say what no result of the record knows."""
    yield from lines(record, [remark for remark in REMARKS if not remark.in_results])


def empty(record: Record) -> Iterator[str]:
    """Say that there is nothing to show."""
    if not record.results:
        yield "no results"


def _samples(record: RunRecord) -> Iterator[str]:
    """Say how many samples there are, what ended the points, who was late and who came last."""
    results = record.results
    if not results:
        return
    reasons = Counter(result.stop_reason for result in results)
    ended = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
    yield f"{samples_per_point(results)}; ended by {ended}"
    yield from late_samples(results)
    elsewhere = sum(result.state.left_out for result in results)
    if elsewhere:
        taken = sum(result.samples for result in results)
        yield (
            f"state: {elsewhere} of {taken} samples found the machine at another speed and are not "
            "counted"
        )
    arrivals = [arrival for result in results for arrival in result.arrivals]
    last = max(arrivals, key=lambda arrival: arrival.median_us, default=None)
    if last is not None and last.max_us > 0:
        yield (
            f"last to arrive: rank {last.rank}, {format_micros(last.median_us)} us "
            f"behind in the median, {format_micros(last.max_us)} us at most"
        )


def late_samples(timed: Sequence[Result | TimedStep]) -> Iterator[str]:
    """Say how many samples are not in the figures because a rank began them late."""
    late, taken = sum(len(one.late) for one in timed), sum(one.samples for one in timed)
    if late:
        yield f"late: {late} of {taken} samples began late on some rank and are not counted"


def samples_per_point(timed: Sequence[Result | TimedStep], point: str = "point") -> str:
    """Say how many samples each figure is of; there is a result at least."""
    counts = sorted({one.samples for one in timed})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"samples: {span} per {point}"


def skipped(record: Record) -> Iterator[str]:
    """Say what did not run, and why."""
    yield from (f"{one.backend}: {one.reason}" for one in record.skipped)


def _warnings(record: RunRecord) -> Iterator[str]:
    """Say each warning once: of all results, or of each series with the sizes that it came at."""
    results = record.results
    # By text and not by result: one cause often touches most points.
    for text in dict.fromkeys(text for result in results for text in result.warnings):
        warned = [result for result in results if text in result.warnings]
        if len(warned) == len(results) > 1:
            yield text
            continue
        # Sorted, because groupby joins neighbours alone.
        for label, group in groupby(sorted(warned, key=_label), key=_label):
            sizes = dict.fromkeys(format_size(result.size_bytes) for result in group)
            yield f"{label} at {', '.join(sizes)}: {text}"


def _label(result: Result) -> str:
    return ascii_of(f"{result.backend} {result.variant}".strip())


def wrong_results(record: RunRecord) -> Iterator[str]:
    """Say of each wrong result where it is wrong."""
    for result in record.results:
        if result.check.wrong:
            where = f"{result.dtype} {result.op}, {result.placement.replace('_', ' ')}"
            at = f"{_label(result)} at {format_size(result.size_bytes)}"
            yield f"{at}, {where}: {wrong_elements(result.check)}"


def wrong_elements(check: Check) -> str:
    """Say how many elements are wrong, and which is the first."""
    text, first = f"{check.wrong} of {check.elements} elements", check.first_wrong
    if first is None:
        return text
    seen = f"expected {first.expected}, seen {first.seen}"
    return f"{text}; first at rank {first.rank}, index {first.index}: {seen}"


def errors(record: Record) -> Iterator[str]:
    """Say what went wrong."""
    yield from (f"{error.type}: {error.message}" for error in record.errors)


def endings(record: Record) -> Iterator[str]:
    """Say that a run did not come to its end."""
    if record.run.status != "complete":
        yield f"the run is not complete: {record.run.status}"


def alone(record: Record) -> Iterator[str]:
    """Say that one rank reduces nothing."""
    if record.topology.ranks == 1 and record.results:
        yield "one rank: nothing is reduced; type: nvrar-bench sweep --ranks auto"


REMARKS = (
    Remark("", "", empty, in_results=False),
    Remark("", "Samples", _samples, in_results=True),
    Remark("skipped: ", "Skipped", skipped, in_results=False),
    Remark("warning: ", "Warnings", _warnings, in_results=True),
    Remark("wrong: ", "Wrong results", wrong_results, in_results=True),
    Remark("error: ", "Errors", errors, in_results=False),
    Remark("", "", endings, in_results=False),
    Remark("", "", alone, in_results=False),
)


MOST = 6
_MOST_WRONG = 2
_LONGEST_PLACE = 30  # letters; more points than fit are counted
NOTE = "note: "


class Found(NamedTuple):
    """A warning about a result, and the note that it comes to."""

    result: Result
    kind: str  # alike for all that are one note
    text: str
    size: float  # the largest of a kind is noted

    @classmethod
    def of(cls, result: Result, warning: str) -> Found | None:
        """Read a warning; one that is no doubt is alike to those with other numbers.

        None where the interval covers nearly as often as it says: the record has the warning.
        """
        for kind in KINDS:
            numbers = kind.read(warning)
            if numbers is not None:
                if float(numbers.get("effective", 0)) > NEARLY_ENOUGH:
                    return None
                text = kind.note.format(**numbers)
                return cls(result, kind.note, text, _size(numbers.get("n", "0")))
        return cls(result, re.sub(r"\d+(\.\d+)?", "#", warning), warning, 0.0)


def _size(number: str) -> float:
    return inf if number == MORE_THAN_ALL else float(number.split()[0])


def notes(record: RunRecord) -> list[str]:
    """Return at most MOST lines, the worst last, where it is read."""
    bad = [f"wrong: {text}" for text in wrong_results(record)]
    if len(bad) > _MOST_WRONG:
        bad = [f"wrong: {len(bad) - _MOST_WRONG} more results, see --verbose", *bad[:_MOST_WRONG]]
    found = [
        *empty(record),
        *(NOTE + text for text in _of_results(record.results)),
        *(f"skipped: {text}" for text in skipped(record)),
        *bad,
        *(f"error: {text}" for text in errors(record)),
        *endings(record),
        *alone(record),
    ]
    # What is cut is the least important, at the beginning.
    more = len(found) - MOST
    return found if more <= 0 else [f"{NOTE}{more + 1} more: --verbose", *found[more + 1 :]]


def samples(results: Sequence[Result]) -> Iterator[str]:
    """Say how many samples each figure is of, and how many are left out of all."""
    if not results:
        return
    left_out = {
        "began late": sum(len(result.late) for result in results),
        "found the machine at another speed": sum(result.state.left_out for result in results),
    }
    taken = sum(result.samples for result in results)
    found = [f"{count} of {taken} {reason}" for reason, count in left_out.items() if count]
    yield samples_per_point(results) + (f"; not counted: {', '.join(found)}" if found else "")


def _of_results(results: Sequence[Result]) -> Iterator[str]:
    """Make one note of each kind of warning about `results`; the least important first."""
    groups: dict[str, list[Found]] = {kind.note: [] for kind in KINDS}
    for result in results:
        for found in (Found.of(result, warning) for warning in result.warnings):
            if found:
                groups.setdefault(found.kind, []).append(found)
    for group in filter(None, groups.values()):
        text = max(group, key=lambda found: found.size).text
        place = _place([found.result for found in group], results)
        yield f"{place}: {text}" if place else text


def _place(points: Sequence[Result], results: Sequence[Result]) -> str:
    """Name points: nothing where it is all of them, else backends with their sizes."""
    if all(any(one is point for point in points) for one in results):
        return ""
    of_series = (_sizes(one, points, results) for one in all_series(results))
    named = ", ".join(text for text in of_series if text)
    if len(named) <= _LONGEST_PLACE:
        return named
    return f"{len({id(point) for point in points})} of {len(results)} points"


def _sizes(series: Series, points: Sequence[Result], results: Sequence[Result]) -> str:
    own = sorted({one.size_bytes for one in results if series.holds(one)})
    hit = {one.size_bytes for one in points if series.holds(one)}
    if not hit or len(hit) == len(own):
        return _name(series, results) if hit else ""
    return f"{_name(series, results)} {' '.join(_spans(own, hit))}"


def _name(series: Series, results: Sequence[Result]) -> str:
    """Name it by its backend, unless that has several series."""
    is_only = all(series.holds(one) for one in results if one.backend == series.backend)
    return ascii_of(series.backend) if is_only else series.label


def _spans(sizes: Sequence[int], hit: set[int]) -> Iterator[str]:
    """Write neighbours among `sizes` that are all `hit` as a span."""
    for is_hit, found in groupby(sizes, hit.__contains__):
        if is_hit:
            run = [format_size(size) for size in found]
            yield ("-" if len(run) > 2 else " ").join(dict.fromkeys((run[0], run[-1])))
