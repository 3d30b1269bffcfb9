"""The lab of ci/gpu.sh as one table: launches of NVRAR over the floor, and NVRAR beside NCCL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpu_model import SLICES
from gpu_run import NOT_RUN, Run, fastest, medians, ratio, sizes

from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.tuning import TuningDocument
from nvrar_bench.units import format_size

_HEAD = "us, times the floor, blocks of each rank; * marks the fastest of a size"
_LABEL = 46


@dataclass(frozen=True)
class Time:
    """Of one launch at one size; `blocks` is None where there are none or nobody knows."""

    us: float
    blocks: int | None = None


Row = dict[int, Time]  # by size


def lab(run: Run) -> list[str]:
    """A group of rows for each shape that was raced, and for NVRAR beside NCCL."""
    groups = [line for record in run.named("lab-").values() for line in _group(run, record)]
    return [_HEAD, *groups] if groups else [NOT_RUN]


def race_table(record: RunRecord) -> TuningDocument | None:
    """What a race chose; None of a run that was none."""
    found = record.environment.get("tuning")
    return None if found is None else TuningDocument.from_json(found, "environment.tuning")


def _group(run: Run, record: RunRecord) -> Iterator[str]:
    table = race_table(record)
    rows = _beside(record) if table is None else {**_raced(record), **_automatic(table)}
    columns = sorted({size for row in rows.values() for size in row})
    floors = {size: _floor_us(run, record, size) for size in columns}
    best = {size: min(row[size].us for row in rows.values() if size in row) for size in columns}
    yield f"{_title(record, table):{_LABEL}}" + "".join(f"{format_size(s):>19}" for s in columns)
    yield f"{'  the floor':{_LABEL}}" + "".join(_cell(floors[size], "", "") for size in columns)
    for name, row in rows.items():
        cells = (_timed(row.get(size), best[size], floors[size]) for size in columns)
        yield f"  {name:{_LABEL - 2}}" + "".join(cells)


def _title(record: RunRecord, table: TuningDocument | None) -> str:
    shape = record.topology
    what = table.made_for.fabric if table else "beside NCCL"
    calls = f"graphs of {record.settings['graph']}"
    nodes = f"{shape.nodes} node{'s' if shape.nodes > 1 else ''}"
    return f"{shape.ranks} ranks in {nodes}, {what}, {calls}"


def share(record: RunRecord) -> int:
    """Multiprocessors of each rank; all ranks share one GPU."""
    return max(1, int(record.environment["gpu_sms"]) // record.topology.ranks)


def _raced(record: RunRecord) -> dict[str, Row]:
    """By protocol, exchange, threads and blocks of a multiprocessor: the fastest at each size."""
    rows: dict[str, Row] = {}
    for result in record.results:
        wanted = result.dtype == "float32" and result.check.status != "failed"
        if result.shape is None or not wanted:
            continue
        blocks, threads = result.shape.blocks, result.shape.threads
        exchange = "" if result.shape.exchange == "doubling" else f" {result.shape.exchange}"
        name = f"{result.variant}{exchange} {threads} x {-(-blocks // share(record))} per SM"
        row = rows.setdefault(name, {})
        time = Time(result.latency_us.median, blocks)
        row[result.size_bytes] = min(time, row.get(result.size_bytes, time), key=lambda t: t.us)
    return dict(sorted(rows.items()))


def _automatic(table: TuningDocument) -> dict[str, Row]:
    """What `auto` does unasked, in the match against the fastest."""
    auto = {
        one.size_bytes: Time(one.auto.median_us)
        for one in table.choices
        if one.auto and one.dtype == "float32"
    }
    return {"auto": auto}


def _beside(record: RunRecord) -> dict[str, Row]:
    """NVRAR as `auto` launches it by the table, and NCCL."""
    found = medians(record.results)
    return {
        backend: {size: Time(us) for size in sizes(found) if (us := fastest(found, backend, size))}
        for backend in dict.fromkeys(backend for backend, _, _ in found)
    }


def _floor_us(run: Run, record: RunRecord, size: int) -> float | None:
    """The lower of both protocols' floors in a graph."""
    floors = (run.floor_us(record, protocol, size, "graph") for protocol in SLICES)
    return min((us for us in floors if us), default=None)


def _timed(time: Time | None, best: float, floor: float | None) -> str:
    if time is None:
        return _cell(None, "", "")
    above = ratio(time.us, floor)
    blocks = "" if time.blocks is None else str(time.blocks)
    return _cell(time.us, "" if above is None else f"{above:.2f}x", blocks, time.us == best)


def _cell(us: float | None, above: str, blocks: str, is_best: bool = False) -> str:
    value = "-" if us is None else f"{us:.2f}"
    return f"{value:>8}{'*' if is_best else ' '}{above:>6}{blocks:>4}"
