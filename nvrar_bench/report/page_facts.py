"""What was run, and where: the parts of a page that hold no figures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.report.markup import element

_LONGEST = 400  # letters of a fact: facts of each rank are lists as long as the run is wide
_MOST_HOSTS = 64

Facts = Mapping[str, Any]


def of_run(record: RunRecord) -> list[Element]:
    """Return what was run: the command, its times, its settings."""
    run, shape = record.run, record.topology
    facts = {
        "command": shlex.join(run.command),
        "id": run.id,
        "started": run.started_at,
        "finished": run.finished_at,
        "status": run.status,
        "nvrar-bench": run.version,
        "ranks": shape.ranks,
        "nodes": f"{shape.nodes} virtual" if shape.virtual_nodes else shape.nodes,
        "ranks per node": shape.ranks_per_node,
    }
    return [
        element("section", element("h2", "Run"), _table(facts)),
        element("section", element("h2", "Ranks"), *_ranks(record)),
        element("section", element("h2", "Environment"), _table(record.environment)),
        element("section", element("h2", "Settings"), _table(record.settings)),
    ]


def _table(facts: Facts) -> Element:
    rows = (
        element("tr", element("th", name, scope="row"), element("td", _said(value)))
        for name, value in facts.items()
    )
    return element("table", element("tbody", *rows), class_="facts")


def _said(value: Any) -> str:
    """Write a fact, which may be anything: as it is, or as JSON if it has parts."""
    if value is None or value == [] or value == {}:
        return "-"
    if isinstance(value, Mapping):
        text = ", ".join(f"{key} {_said(part)}" for key, part in value.items())
    elif isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
        text = ", ".join(map(str, value))
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … (more in the record)"


def _ranks(record: RunRecord) -> Iterator[Element]:
    """Say which ranks were where, a row per host and node."""
    places: dict[tuple[str, int], list[int]] = {}
    devices: dict[tuple[str, int], dict[str, None]] = {}
    for place in record.topology.placement:
        where = place.host, place.node
        places.setdefault(where, []).append(place.rank)
        devices.setdefault(where, {})[place.device or "-"] = None
    titles = (element("th", title, scope="col") for title in ("host", "node", "ranks", "devices"))
    rows = [
        element("tr", *(element("td", text) for text in (
            host, str(node), _numbers(ranks), ", ".join(devices[host, node])
        )))
        for (host, node), ranks in places.items()
    ]  # fmt: skip
    yield element(
        "table", element("thead", element("tr", *titles)), element("tbody", *rows[:_MOST_HOSTS])
    )
    if len(rows) > _MOST_HOSTS:
        yield element("p", f"{len(rows) - _MOST_HOSTS} more, in the record.")


def _numbers(ranks: Sequence[int]) -> str:
    """Write consecutive numbers as a span: 0-3, 8, 9."""
    spans: list[list[int]] = []
    for rank in sorted(ranks):
        if spans and rank == spans[-1][-1] + 1:
            spans[-1].append(rank)
        else:
            spans.append([rank])
    return ", ".join(str(s[0]) if len(s) == 1 else f"{s[0]}-{s[-1]}" for s in spans)
