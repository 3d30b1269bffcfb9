"""One record of several launches, made of the records of each: see docs/record.md.

Merging records that were merged before gives what merging all of them at once gives.

`environment` keeps every fact under its own key, in its own type: what reads the record of one
launch reads that of many. A fact that differs has the value of the first launch there, and
`environment.launches` has that of each: one object per launch, null where a launch lacks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from nvrar_bench.documents.record import ErrorEntry, Run, RunRecord, Status
from nvrar_bench.documents.result import Arrival, Check, Result, Stretch
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.statistics.doubts import RULER
from nvrar_bench.statistics.figures import make_result
from nvrar_bench.statistics.points import POINT, numbered, point_of

KEY = "launches"
_ALWAYS = ("id", "started_at", "finished_at", "status", "seed")  # of a launch, as a run of its own
_HOSTS = "hosts"  # by rank; `topology.placement` has those of the first launch
Facts = Mapping[str, Any]
# What launches may differ in: `launches` counts them, and every seed gives as good a measurement.
_FREE_SETTINGS = ("launches", "seed")
_SHAPE = ("ranks", "nodes", "ranks_per_node", "virtual_nodes")
_SUBJECT = ("kernels_sha256", "mpi_library")  # facts that say what is measured
_WORST_LAST: tuple[Status, ...] = ("complete", "interrupted", "failed")
_NUMBER = re.compile(r"\Alaunch (\d+): ")
_ABSENT = "absent"


def merge(records: Sequence[RunRecord], names: Sequence[str] | None = None) -> RunRecord:
    """Return one record of all launches of `records`, 1 or more, in their order.

    All figures are computed anew. `names` is how messages call the records.

    UsageError: they cannot be merged; the message says which two, and what differs.
    """
    names = names or [f"record {i}" for i in range(1, len(records) + 1)]
    if not records:
        raise UsageError("there is nothing to merge: no record was given")
    facts = [_of_launches(record, name) for record, name in zip(records, names, strict=True)]
    _require_other_runs(facts, names)
    settings = list(dict.fromkeys(key for record in records for key in record.settings))
    _require_agreement(
        (name, what, value)
        for record, name in zip(records, names, strict=True)
        for what, value in _subject(record, settings)
    )
    counts = [len(each) for each in facts]
    first, launches = records[0], sum(counts)
    # A launch may lack a point, and repeat another: results belong together by point and repeat.
    groups = _matched(records, names)
    return replace(
        first,
        run=_run([record.run for record in records]),
        settings={**first.settings, "launches": launches},
        environment=_combined([launch for each in facts for launch in each]),
        results=tuple(_merged(group, launches, first) for group in groups),
        skipped=tuple(dict.fromkeys(one for record in records for one in record.skipped)),
        errors=tuple(_errors(records, counts)),
    )


def _require_other_runs(facts: Sequence[Sequence[Facts]], names: Sequence[str]) -> None:
    holders: dict[str, str] = {}
    for launches, name in zip(facts, names, strict=True):
        for run in (launch["id"] for launch in launches):
            # The same samples twice would make an interval too narrow.
            if run in holders:
                raise UsageError(
                    f"{name} cannot be merged with {holders[run]}: both hold the run {run}"
                )
            holders[run] = name


def _subject(record: RunRecord, settings: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """What must be the same in all launches; hosts and devices may differ."""
    shape, facts = record.topology, record.environment
    yield "run.version", record.run.version
    yield from ((f"topology.{key}", getattr(shape, key)) for key in _SHAPE)
    places = [[place.rank, place.node, place.local_rank] for place in shape.placement]
    yield "topology.placement (rank, node, local_rank)", places
    for key in settings:
        if key not in _FREE_SETTINGS:
            yield f"settings.{key}", record.settings.get(key, _ABSENT)
    for key in _SUBJECT:
        if facts.get(key) is not None:  # a launch that died at once has none
            yield f"environment.{key}", facts[key]


def _run(runs: Sequence[Run]) -> Run:
    """A new run: its texts of time are ISO 8601 in UTC, whose order is that of time."""
    first = runs[0]
    return Run(
        id=uuid4().hex,
        started_at=min(run.started_at for run in runs),
        finished_at=max(run.finished_at or run.started_at for run in runs),
        # One launch that failed makes the whole a run that failed.
        status=max((run.status for run in runs), key=_WORST_LAST.index),
        command=first.command,
        version=first.version,
    )


def _errors(records: Sequence[RunRecord], counts: Sequence[int]) -> Iterator[ErrorEntry]:
    """All errors, each with the number of its launch, from 1, where there are several launches."""
    before = accumulate(counts, initial=0)
    for record, count, earlier in zip(records, counts, before, strict=False):
        for error in record.errors:
            if sum(counts) == 1:
                yield error
            elif count == 1:
                yield replace(error, message=f"launch {earlier + 1}: {error.message}")
            else:
                yield replace(error, message=_renumbered(error.message, earlier))


def _renumbered(message: str, earlier: int) -> str:
    """Of a record that was merged before, whose messages begin with numbers of its own."""
    return _NUMBER.sub(lambda own: f"launch {int(own[1]) + earlier}: ", message)


def _of_launches(record: RunRecord, name: str) -> list[Facts]:
    """Return all facts of each launch, in order, as `_combined` has put them (UsageError)."""
    shared = {key: value for key, value in record.environment.items() if key != KEY}
    hosts = {_HOSTS: [place.host for place in record.topology.placement]}
    as_launch = {
        **{key: getattr(record.run, key) for key in ("id", "started_at", "finished_at", "status")},
        "seed": record.settings.get("seed"),
    }
    own = record.environment.get(KEY, [as_launch])
    listed = own if isinstance(own, list) else []
    if not (listed and all(isinstance(f, dict) and isinstance(f.get("id"), str) for f in listed)):
        raise UsageError(
            f"{name}: environment.{KEY} is no list of launches: objects with an id, 1 or more"
        )
    return [{**hosts, **shared, **facts} for facts in listed]


def _combined(launches: Sequence[Facts]) -> dict[str, Any]:
    """Return the environment of a record with these launches."""
    keys = list(dict.fromkeys(key for facts in launches for key in facts))
    values = {key: [facts.get(key) for facts in launches] for key in keys}
    differing = [
        key
        for key, found in values.items()
        if key in _ALWAYS or any(one != found[0] for one in found)
    ]
    shared = {
        key: next((one for one in found if one is not None), None)
        for key, found in values.items()
        if key not in (*_ALWAYS, _HOSTS)
    }
    return {**shared, KEY: [{key: facts.get(key) for key in differing} for facts in launches]}


# How the warning begins that some launches lack a result; merging again replaces it.
LAUNCHES = "launches: "
_TERMS = ("warmup", "precision.target", "shape", "batch")  # how samples were taken
_SEPARATOR = ", "  # between reasons to stop


_Part = tuple[str, Result]  # with the name of the record that it is from


def _matched(records: Sequence[RunRecord], names: Sequence[str]) -> list[list[_Part]]:
    """Return the results of `records` that belong together, in the order of the first of each.

    They are at the same point, and as many results of their record at that point are before them.
    """
    found: dict[tuple[Any, ...], list[_Part]] = {}
    for record, name in zip(records, names, strict=True):
        for repeat, result in numbered(record.results, point_of):
            found.setdefault((*point_of(result), repeat), []).append((name, result))
    return list(found.values())


def _merged(parts: Sequence[_Part], launches: int, run: RunRecord) -> Result:
    """Return the result of all `parts`, which agree (UsageError), of so many launches."""
    name, first = parts[0]
    point = f"{first.backend} at {first.size_bytes} bytes"
    _require_agreement(
        (name, f"{key} of {point}", attrgetter(key)(one)) for name, one in parts for key in _TERMS
    )
    try:
        return _joined([result for _, result in parts], launches, run)
    except NvrarBenchError as error:
        raise UsageError(f"{name}: {point}: {error}") from error


def _require_agreement(stated: Iterable[tuple[str, str, Any]]) -> None:
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
