"""What the launches of a merged record have in common, and what each has for itself.

`environment` keeps every fact under its own key, in its own type: what reads the record of one
launch reads that of many. A fact that differs has the value of the first launch there, and
`environment.launches` has that of each: one object per launch, null where a launch did not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.errors import UsageError

KEY = "launches"
_ALWAYS = ("id", "started_at", "finished_at", "status", "seed")  # of a launch, as a run of its own
_HOSTS = "hosts"  # by rank; `topology.placement` has those of the first launch

Facts = Mapping[str, Any]


def of_launches(record: RunRecord, name: str) -> list[Facts]:
    """Return all facts of each launch of `record`, in order; `name` is for messages.

    Raises:
        UsageError: `environment.launches` is not what `combined` makes.
    """
    shared = {key: value for key, value in record.environment.items() if key != KEY}
    hosts = {_HOSTS: [place.host for place in record.topology.placement]}
    own = record.environment.get(KEY, [_as_launch(record)])
    if not (isinstance(own, list) and own and all(_is_launch(facts) for facts in own)):
        raise UsageError(
            f"{name}: environment.{KEY} is no list of launches: objects with an id, 1 or more"
        )
    return [{**hosts, **shared, **facts} for facts in own]


def combined(launches: Sequence[Facts]) -> dict[str, Any]:
    """Return the environment of a record with these launches."""
    keys = list(dict.fromkeys(key for facts in launches for key in facts))
    differing = [key for key in keys if key in _ALWAYS or _differs(launches, key)]
    shared = {key: _first(launches, key) for key in keys if key not in (*_ALWAYS, _HOSTS)}
    return {**shared, KEY: [{key: facts.get(key) for key in differing} for facts in launches]}


def _as_launch(record: RunRecord) -> Facts:
    run = record.run
    times = {"started_at": run.started_at, "finished_at": run.finished_at}
    return {"id": run.id, **times, "status": run.status, "seed": record.settings.get("seed")}


def _is_launch(facts: Any) -> bool:
    return isinstance(facts, dict) and isinstance(facts.get("id"), str)


def _differs(launches: Sequence[Facts], key: str) -> bool:
    return any(facts.get(key) != launches[0].get(key) for facts in launches)


def _first(launches: Sequence[Facts], key: str) -> Any:
    told = (facts[key] for facts in launches if facts.get(key) is not None)
    return next(told, None)
