"""From run records to a comparison, and from that to how the command ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from msgspec.structs import asdict

from nvrar_bench import __version__
from nvrar_bench.documents.comparison import (
    FORMAT,
    FORMAT_VERSION,
    Comparison,
    ComparisonDocument,
    MissingPoint,
    PointKey,
    RunFacts,
    VerdictCounts,
)
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.errors import NvrarBenchError, Regression, Undecided, UsageError, WrongResult
from nvrar_bench.statistics.bootstrap import CONFIDENCE, REPLICATES
from nvrar_bench.statistics.conditions import differences, disagreements, notes
from nvrar_bench.statistics.points import points_of
from nvrar_bench.statistics.verdicts import Candidate, Pair, Terms, judge

_DIFFERING = ("slower", "faster", "undecided")
_NAMED = 5  # points that a message names; the table has all
NamedRun = tuple[str, RunRecord]  # the file's name first


def compare(
    base: NamedRun, news: Sequence[NamedRun], terms: Terms, seed: int
) -> ComparisonDocument:
    """Compare each of `news` with `base`; UsageError with all the facts that disagree."""
    problems = [text for new in news for text in _incomparable(base, new)]
    if problems:
        raise UsageError("; ".join(problems))
    bases = _candidates(base[1], seed, 0)
    judged_by = terms.threshold, terms.launch_spread, terms.one_state, CONFIDENCE, REPLICATES, seed
    compared = tuple(_comparison(base, new, bases, terms, seed) for new in news)
    return ComparisonDocument(
        FORMAT, FORMAT_VERSION, __version__, *judged_by, _run_facts(base), compared
    )


def outcome(
    document: ComparisonDocument, allow_missing: bool, strict: bool = False
) -> NvrarBenchError | None:
    """Return the error that the command ends with: the worst over all runs; None if all is well.

    Missing points are worse than wrong results, those worse than slower points, and those, if it is
    `strict`, than undecided ones.
    """
    ignored = {UsageError: allow_missing, Undecided: not strict}
    for kind, find in _OUTCOMES:
        texts = [find(one) for one in document.comparisons]
        if any(texts) and not ignored.get(kind):
            return kind("; ".join(filter(None, texts)))
    return None


def _incomparable(base: NamedRun, new: NamedRun) -> Iterator[str]:
    (base_file, base_run), (new_file, new_run) = base, new
    for file, run in (base, new):
        if not run.results:
            yield f"{file} holds no results: its run is {run.run.status}"
            return
    facts = disagreements(base_run, new_run)
    if facts:
        listed = ", ".join(f"{one.fact} ({one.base}, {one.new})" for one in facts)
        yield f"{new_file} cannot be compared with {base_file}, these must agree: {listed}"
    elif not points_of(base_run).keys() & points_of(new_run).keys():
        first = [str(next(iter(points_of(run)))) for run in (base_run, new_run)]
        yield (
            f"{new_file} has no point in common with {base_file}: the one begins with {first[1]}, "
            f"the other with {first[0]}"
        )


def _comparison(
    base: NamedRun, new: NamedRun, bases: Mapping[PointKey, Candidate], terms: Terms, seed: int
) -> Comparison:
    others = _candidates(new[1], seed, 1)
    # A file may have been copied: what counts is the run that it holds.
    same_run = base[1].run.id == new[1].run.id
    pairs = {
        key: Pair.of(candidate, others[key], one_state=terms.one_state, same_run=same_run)
        for key, candidate in bases.items()
        if key in others
    }
    points = tuple(judge(key, pair, terms) for key, pair in pairs.items())
    missing = (
        *(MissingPoint(**asdict(key), missing_in="new") for key in bases if key not in others),
        *(MissingPoint(**asdict(key), missing_in="base") for key in others if key not in bases),
    )
    judged = zip(pairs, points, strict=True)
    differing = [key for key, point in judged if point.verdict in _DIFFERING]
    return Comparison(
        _run_facts(new),
        points,
        missing,
        differences(base[1], new[1]),
        tuple(notes(base[1], new[1], pairs, [] if terms.one_state else differing)),
        VerdictCounts.of(points, missing),
    )


def _candidates(record: RunRecord, seed: int, side: int) -> dict[PointKey, Candidate]:
    return {
        key: Candidate(result, seed, side, record.one_state)
        for key, result in points_of(record).items()
    }


def _run_facts(named: NamedRun) -> RunFacts:
    file, record = named
    run = record.run
    launches = max(len(result.launch_samples) for result in record.results)
    return RunFacts(file, run.id, run.started_at, run.status, run.version, launches)


def _missing(one: Comparison) -> str:
    if not one.missing:
        return ""
    listed = _some([str(missing) for missing in one.missing])
    return f"{one.new.file}: points are missing: {listed}; --allow-missing compares the rest"


def _with_verdict(verdict: str, said: str, one: Comparison) -> str:
    points = [point for point in one.points if point.verdict == verdict]
    if not points:
        return ""
    listed = _some(
        [str(one) + ("" if one.ratio is None else f" x{one.ratio:.3f}") for one in points]
    )
    return f"{one.new.file}: {len(points)} of {len(one.points)} points {said}: {listed}"


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f", and {more} more" if more > 0 else "")


_OUTCOMES = (
    (UsageError, _missing),
    (WrongResult, partial(_with_verdict, "wrong", "wrong")),
    (Regression, partial(_with_verdict, "slower", "slower")),
    (Undecided, partial(_with_verdict, "undecided", "undecided, which --strict does not allow")),
)
