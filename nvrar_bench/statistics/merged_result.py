"""One result of several launches, made of the results of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any

from msgspec.structs import replace

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.result import Arrival, Check, Result, Stretch
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.statistics.doubts import RULER
from nvrar_bench.statistics.figures import make_result
from nvrar_bench.statistics.points import POINT, numbered, point_of

# How the warning begins that some launches lack a result; merging again replaces it.
LAUNCHES = "launches: "
_TERMS = ("warmup", "precision.target", "shape", "batch")  # how samples were taken
_SEPARATOR = ", "  # between reasons to stop


@dataclass(frozen=True)
class Part:
    """A result, with the name of the record that it is from."""

    name: str
    result: Result


def matched(records: Sequence[RunRecord], names: Sequence[str]) -> list[list[Part]]:
    """Return the results of `records` that belong together, in the order of the first of each.

    They are at the same point, and as many results of their record at that point are before them.
    """
    found: dict[tuple[Any, ...], list[Part]] = {}
    for record, name in zip(records, names, strict=True):
        for repeat, result in numbered(record.results, point_of):
            found.setdefault((*point_of(result), repeat), []).append(Part(name, result))
    return list(found.values())


def merged(parts: Sequence[Part], launches: int, first: RunRecord) -> Result:
    """Return the result of all `parts`, which agree (UsageError), of so many launches."""
    for part in parts:
        _require_sound(part)
    at = f"of {parts[0].result.backend} at {parts[0].result.size_bytes} bytes"
    require_agreement(
        (part.name, f"{key} {at}", attrgetter(key)(part.result)) for part in parts for key in _TERMS
    )
    results = [part.result for part in parts]
    try:
        return _joined(results, launches, first)
    except NvrarBenchError as error:
        raise UsageError(f"{_where(parts[0])}: {error}") from error


def require_agreement(stated: Iterable[tuple[str, str, Any]]) -> None:
    """Refuse what differs (UsageError): each is a record, what is stated in it, and the value."""
    agreed: dict[str, tuple[Any, str]] = {}
    for name, what, value in stated:
        known, holder = agreed.setdefault(what, (value, name))
        if value != known:
            raise UsageError(
                f"{name} cannot be merged with {holder}: {what} is {_short(value)} in {name} and "
                f"{_short(known)} in {holder}"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _joined(results: Sequence[Result], launches: int, run: RunRecord) -> Result:
    first, before = results[0], accumulate((len(r.samples_us) for r in results), initial=0)
    reasons = (reason for r in results for reason in r.stop_reason.split(_SEPARATOR))
    return make_result(
        ranks=run.topology.ranks,
        one_state=run.one_state,
        samples_us=tuple(chain.from_iterable(r.samples_us for r in results)),
        launch_samples=tuple(chain.from_iterable(r.launch_samples for r in results)),
        late=tuple(n + i for n, r in zip(before, results, strict=False) for i in r.late),
        target=first.precision.target,
        warnings=_warnings(results, launches),
        warmup=first.warmup,
        stop_reason=_SEPARATOR.join(dict.fromkeys(reasons)),
        arrivals=_arrivals(results),
        stretches=tuple(chain.from_iterable(map(_stretches, results))),
        check=_check([r.check for r in results]),
        shape=first.shape,
        batch=first.batch,
        **{key: getattr(first, key) for key in POINT},
    )


def _stretches(result: Result) -> Sequence[Stretch]:
    """Those of a result; one for each of its launches where it has none."""
    unknown = [Stretch(count, None, None, None) for count in result.launch_samples]
    return result.stretches or unknown


def _arrivals(results: Sequence[Result]) -> tuple[Arrival, ...]:
    """Number their launches anew: an arrival's launch is an index of `launch_samples`."""
    launches = accumulate((len(result.launch_samples) for result in results), initial=0)
    return tuple(
        replace(arrival, launch=n + arrival.launch)
        for n, result in zip(launches, results, strict=False)
        for arrival in result.arrivals
    )


def _warnings(results: Sequence[Result], launches: int) -> tuple[str, ...]:
    texts = list(dict.fromkeys(text for result in results for text in result.warnings))
    of_first = [text for text in texts if text in results[0].warnings]
    kept = [text for text in texts if not text.startswith((LAUNCHES, RULER))]
    kept += [text for text in of_first if text.startswith(RULER)]
    having = sum(len(result.launch_samples) for result in results)
    if having < launches:
        kept.append(f"{LAUNCHES}{having} of {launches} have this result")
    return tuple(kept)


def _check(checks: Sequence[Check]) -> Check:
    statuses = {check.status for check in checks}
    return Check(
        "failed" if "failed" in statuses else "passed" if "passed" in statuses else "skipped",
        next((check.mode for check in checks if check.mode is not None), None),
        sum(check.elements for check in checks),
        sum(check.wrong for check in checks),
        next((check.first_wrong for check in checks if check.first_wrong is not None), None),
        all(check.timed for check in checks),
    )


def _where(part: Part) -> str:
    return f"{part.name}: {part.result.backend} at {part.result.size_bytes} bytes"


def _require_sound(part: Part) -> None:
    result = part.result
    stated, there = sum(result.launch_samples), len(result.samples_us)
    if stated != there:
        raise UsageError(
            f"{_where(part)}: launch_samples add up to {stated}, but samples_us holds {there}"
        )
    for what, indices, limit in (
        ("late", result.late, there),
        ("arrivals", [each.launch for each in result.arrivals], len(result.launch_samples)),
    ):
        if any(index >= limit for index in indices):
            raise UsageError(
                f"{_where(part)}: {what} names {max(indices)}; allowed: less than {limit}"
            )
