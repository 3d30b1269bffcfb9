"""The few lines below a table: what was seen, at which points, and what to do.

Everything that is known is `remarks.lines`, which --verbose shows; it is in the record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nvrar_bench.report.remarks import alone, empty, endings, errors, skipped, wrong_results
from nvrar_bench.report.series import Series, all_series, ascii_of
from nvrar_bench.results.record import Result, RunRecord
from nvrar_bench.statistics.doubts import DOUBT
from nvrar_bench.units import format_size

MOST = 6
_MOST_WRONG = 2
_LONGEST_PLACE = 30  # letters; more points than fit are counted
NOTE = "note: "


@dataclass(frozen=True)
class Kind:
    """Warnings that are one note: those in which `pattern` is found.

    `text` has the groups of the warning whose group `n`, a number, is the largest.
    """

    pattern: re.Pattern[str]
    text: str


# The least important first. The texts are those of statistics/doubts.py and timing/ruler.py.
_KINDS = (
    Kind(
        re.compile(r"each call was timed alone, and (?P<n>[\d.]+) us"),
        "two events around each call are {n} us of each time; share them with --batch",
    ),
    Kind(  # as versions without --batch wrote it
        re.compile(r"^ruler: .* is (?P<n>\d+) % of the median.*several calls per sample"),
        "timing is up to {n} % of these times; take several calls per sample (--batch)",
    ),
    Kind(
        re.compile(r"^ruler: .* is (?P<n>\d+) % of the median.*(?:: |, or )(?P<advice>[^:,]*)$"),
        "timing is up to {n} % of these times; {advice}",
    ),
    Kind(
        re.compile(r"the first tenth of the samples.* lies (?P<n>[\d.]+) %"),
        "the first calls were up to {n} % off the rest; raise --warmup",
    ),
    Kind(
        re.compile(r"--precision of (?P<wish>.*) was .* reached .* about (?P<n>\d+) (?P<what>\w+)"),
        "--precision {wish} was missed; allow {n} {what}, or ask for less",
    ),
    Kind(
        re.compile(r"as (1?\d|2[0-4]) independent ones, .* raise --iters to (?P<n>\d+)"),
        "samples follow each other, ±95% is too narrow; use --iters {n}",
    ),
    Kind(
        re.compile(r" (?P<n>[\d.]+) % .*the machine changed under the run"),
        "the machine changed by {n} %, ±95% is too narrow; use --launches 5",
    ),
    Kind(
        re.compile(r"launches differ by (?P<n>[\d.]+) % of the median"),
        "launches differ by up to {n} %; compare runs of several --launches",
    ),
    Kind(
        re.compile(r"(?P<n>\d+) of \d+ samples began late"),
        "most samples began late; stop other work, or use --start barrier",
    ),
)


# Of 25 effective samples and more the interval covers nearly as often as it says (ci/coverage.py).
_UNMENTIONED = re.compile(r"samples follow each other")


def notes(record: RunRecord) -> list[str]:
    """Return at most MOST lines, the worst last, where it is read."""
    bad = [f"wrong: {text}" for text in wrong_results(record)]
    if len(bad) > _MOST_WRONG:
        bad = [f"wrong: {len(bad) - _MOST_WRONG} more results, see --verbose", *bad[:_MOST_WRONG]]
    found = [
        *empty(record),
        *(NOTE + text for text in _of_warnings(record.results)),
        *(f"skipped: {text}" for text in skipped(record)),
        *bad,
        *(f"error: {text}" for text in errors(record)),
        *endings(record),
        *alone(record),
    ]
    more = len(found) - MOST
    return found if more <= 0 else [f"{NOTE}{more + 1} more: --verbose", *found[more + 1 :]]


def samples(results: Sequence[Result]) -> Iterator[str]:
    """Say how many samples each figure is of, and how many are left out of all."""
    counts = sorted({result.samples for result in results})
    if not counts:
        return
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    left_out = {
        "late": sum(len(result.late) for result in results),
        "of another state of the machine": sum(result.state.left_out for result in results),
    }
    reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if count)
    taken = sum(result.samples for result in results)
    yield f"samples: {span} per point" + (f"; left out of {taken}: {reasons}" if reasons else "")


def _of_warnings(results: Sequence[Result]) -> Iterator[str]:
    """Make one note of each kind of warning; the least important first."""
    warned: dict[Kind | str, dict[str, list[Result]]] = {kind: {} for kind in _KINDS}
    for text, result in ((text, one) for one in results for text in one.warnings):
        kind = _kind_of(text)
        if isinstance(kind, Kind) or not _UNMENTIONED.search(text):
            warned.setdefault(kind, {}).setdefault(text, []).append(result)
    for kind, texts in warned.items():
        if texts:
            points = [result for found in texts.values() for result in found]
            place = _place(points, results)
            yield f"{place}: {_text(kind, list(texts))}" if place else _text(kind, list(texts))


def _kind_of(warning: str) -> Kind | str:
    """Return the kind of a warning; one of no kind is alike to those with other numbers."""
    unnumbered = re.sub(r"\d+(\.\d+)?", "#", warning)
    return next((kind for kind in _KINDS if kind.pattern.search(warning)), unnumbered)


def _text(kind: Kind | str, warnings: Sequence[str]) -> str:
    if isinstance(kind, str):
        return warnings[0].removeprefix(DOUBT)
    found = [match for match in map(kind.pattern.search, warnings) if match]
    return kind.text.format(**max(found, key=lambda match: float(match["n"])).groupdict())


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
    runs: list[list[int]] = [[]]
    for size in sizes:
        if size in hit:
            runs[-1].append(size)
        elif runs[-1]:
            runs.append([])
    for run in filter(None, runs):
        ends = [format_size(run[0]), format_size(run[-1])]
        yield ends[0] if len(run) == 1 else ("-" if len(run) > 2 else " ").join(ends)
