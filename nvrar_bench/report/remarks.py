"""All that a table of figures does not say: samples left out, skipped backends, warnings, errors.

A screen shows the few lines of notes.py, and these with --verbose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from nvrar_bench.documents.decode import TimedStep
from nvrar_bench.documents.record import Record, RunRecord
from nvrar_bench.documents.result import Check, Result
from nvrar_bench.report.columns import ascii_of
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
            f"state: {elsewhere} of {taken} samples, which found the machine in another state, are "
            "not in the medians"
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
        yield f"late: {late} of {taken} samples, which some rank began late, are not in the figures"


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


def summary(record: RunRecord) -> list[str]:
    """Return a correctness run in a few lines: what passed per backend, and what failed."""
    topology = record.topology
    lines = [f"{topology.ranks} ranks; MPI library: {record.environment.get('mpi_library')}"]
    lines += checked(record)
    lines += _soak(record.environment.get("soak"))
    lines += [f"skipped {skipped.backend}: {skipped.reason}" for skipped in record.skipped]
    lines += [_failure(result) for result in record.results if result.check.status == "failed"]
    return lines


def checked(record: RunRecord) -> list[str]:
    """Say of each backend how many of its results passed."""
    lines = []
    counted = Counter((result.backend, result.check.status) for result in record.results)
    for backend in dict.fromkeys(result.backend for result in record.results):
        passed, failed = counted[backend, "passed"], counted[backend, "failed"]
        skipped = counted[backend, "skipped"]
        elements = sum(r.check.elements for r in record.results if r.backend == backend)
        unchecked = f", {skipped} not checked" if skipped else ""
        lines.append(
            f"{backend}: {passed} passed, {failed} failed{unchecked}; {elements} elements compared"
        )
    return lines


def _soak(done: Any) -> list[str]:
    """Describe a soak; in somebody else's record anything may be under its name."""
    if not isinstance(done, Mapping):
        return []
    by_backend = done.get("calls_by_backend")
    counted = by_backend.items() if isinstance(by_backend, Mapping) else ()
    calls = ", ".join(f"{name} {count}" for name, count in counted)
    seconds = done.get("seconds")
    took = f"{seconds:.1f} s" if isinstance(seconds, int | float) else "an unknown time"
    return [f"soak: {done.get('calls')} verified calls in {took}: {calls}"]


def _failure(result: Result) -> str:
    first = result.check.first_wrong
    seen = ""
    if first is not None:
        seen = f"; first on rank {first.rank}, element {first.index}: "
        seen += f"expected {first.expected}, saw {first.seen}"
    return (
        f"FAILED {result.backend} {result.variant} {result.dtype} {result.op} "
        f"{format_size(result.size_bytes)} {result.placement} {result.buffers}: "
        f"{result.check.wrong} wrong{seen}"
    )
