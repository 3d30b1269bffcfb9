"""The few lines below a table: what was seen, at which points, and what to do.

Everything that is known is `remarks.lines`, which --verbose shows; it is in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Result
from nvrar_bench.report import remarks
from nvrar_bench.report.columns import Series, all_series, ascii_of
from nvrar_bench.statistics import doubts
from nvrar_bench.statistics.doubts import DOUBT, RULER, Doubt
from nvrar_bench.statistics.figures import doubts_of
from nvrar_bench.timing import ruler
from nvrar_bench.units import format_size

MOST = 6
_MOST_WRONG = 2
_LONGEST_PLACE = 30  # letters; more points than fit are counted
NOTE = "note: "


class Found(NamedTuple):
    """A doubt about a result, or a warning of its record that is none."""

    result: Result
    said: Doubt | str


def notes(record: RunRecord) -> list[str]:
    """Return at most MOST lines, the worst last, where it is read."""
    bad = [f"wrong: {text}" for text in remarks.wrong_results(record)]
    if len(bad) > _MOST_WRONG:
        bad = [f"wrong: {len(bad) - _MOST_WRONG} more results, see --verbose", *bad[:_MOST_WRONG]]
    found = [
        *remarks.empty(record),
        *(NOTE + text for text in of_results(_found(record), record.results)),
        *(f"skipped: {text}" for text in remarks.skipped(record)),
        *bad,
        *(f"error: {text}" for text in remarks.errors(record)),
        *remarks.endings(record),
        *remarks.alone(record),
    ]
    # What is cut is the least important, at the beginning.
    more = len(found) - MOST
    return found if more <= 0 else [f"{NOTE}{more + 1} more: --verbose", *found[more + 1 :]]


def samples(results: Sequence[Result]) -> Iterator[str]:
    """Say how many samples each figure is of, and how many are left out of all."""
    if not results:
        return
    left_out = {
        "late": sum(len(result.late) for result in results),
        "of another state of the machine": sum(result.state.left_out for result in results),
    }
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    taken = sum(result.samples for result in results)
    yield remarks.samples_per_point(results) + (
        f"; left out of {taken}: {reasons}" if reasons else ""
    )


def of_results(found: Iterable[Found], results: Sequence[Result]) -> Iterator[str]:
    """Make one note of each kind of doubt or warning about `results`; the least important first."""
    groups: dict[str, list[Found]] = {kind.note: [] for kind in (*ruler.KINDS, *doubts.KINDS)}
    for one in found:
        # Kinds with the same note are one; a warning is alike to those with other numbers.
        said = one.said
        key = said.kind.note if isinstance(said, Doubt) else re.sub(r"\d+(\.\d+)?", "#", said)
        groups.setdefault(key, []).append(one)
    for group in filter(None, groups.values()):
        # The largest of a kind of doubt stands for all; of warnings the first.
        known = [one.said for one in group if isinstance(one.said, Doubt)]
        text = max(known, key=lambda doubt: doubt.size).note if known else str(group[0].said)
        if text or not known:
            place = _place([one.result for one in group], results)
            yield f"{place}: {text}" if place else text


def _found(record: RunRecord) -> Iterator[Found]:
    """Yield doubts, computed anew, and the warnings of the record that are no doubts."""
    facts = record.environment.get("ruler")
    for result in record.results:
        known = (*ruler.doubts_of(result, facts), *doubts_of(result, record.one_state))
        yield from (Found(result, doubt) for doubt in known)
        yield from (
            Found(result, text) for text in result.warnings if not text.startswith((DOUBT, RULER))
        )


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
