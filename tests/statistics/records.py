"""Records whose every sample is known, for comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from scipy.signal import lfilter

from nvrar_bench.documents.comparison import ComparisonDocument
from nvrar_bench.documents.record import RankPlace, RunRecord, Topology
from nvrar_bench.documents.result import Check, Result, Stretch
from nvrar_bench.statistics.comparison import compare
from nvrar_bench.statistics.figures import make_result
from nvrar_bench.statistics.verdicts import Candidate, Pair, Terms

TOPOLOGY = Topology(
    2, 1, 2, False, (RankPlace(0, "box", 0, 0, "cpu"), RankPlace(1, "box", 0, 1, "cpu"))
)
PASSED = Check("passed", "exact", 2048, 0, None, timed=True)
FAILED = Check("failed", "exact", 2048, 7, None, timed=True)
SETTINGS = {"iters": 200, "check": True, "graph": 1, "cold_cache": False, "seed": 0}
ENVIRONMENT = {"cpu": "a CPU", "host": "box", "start": "gate", "cuda_packages": {"nccl4py": "0.6"}}

LAUNCHES_ALIKE = Terms(0.05, launch_spread=0.0)
TWICE = [[10.0] * 10, [10.0] * 10]
SLOW = [[12.0] * 10, [12.0] * 10]


def result(launches: Sequence[Sequence[float]], size: int = 4096, **facts: Any) -> Result:
    """A result of `launches`, each the samples of one, in microseconds."""
    samples = tuple(float(sample) for launch in launches for sample in launch)
    given: dict[str, Any] = {
        "backend": "nvrar", "variant": "signal", "device": "cpu", "buffers": "symmetric",
        "dtype": "float32", "op": "sum", "placement": "out_of_place", "size_bytes": size,
        "count": size // 4, "warmup": 5, "stop_reason": "iterations", "arrivals": (),
        "check": PASSED, "late": (), "warnings": (),
    }  # fmt: skip
    return make_result(
        ranks=2, samples_us=samples, launch_samples=tuple(len(launch) for launch in launches),
        target=None, **{**given, **facts},
    )  # fmt: skip


def states(launches: Sequence[Sequence[float]], *work_us: float | None) -> tuple[Stretch, ...]:
    """A stretch per launch; all that differs between them is how long work took."""
    return tuple(
        Stretch(len(launch), 0.1, 2.0, us) for launch, us in zip(launches, work_us, strict=True)
    )


def pair_of(base: Result, new: Result, one_state: bool = False) -> Pair:
    """Two results of two runs at one point, with seed 0."""
    return Pair.of(Candidate(base, 0, 0), Candidate(new, 0, 1), one_state=one_state)


def record(*results: Result, run_id: str = "a" * 32, **changes: Any) -> RunRecord:
    """A complete run of `results`; `changes` are to its settings."""
    made = RunRecord.begin(
        command=["sweep"], version="0.1.0", settings={**SETTINGS, **changes}, topology=TOPOLOGY,
        environment=ENVIRONMENT,
    ).finished("complete")  # fmt: skip
    run = replace(made.run, id=run_id, started_at="2026-01-02T03:04:05.678+00:00")
    return replace(made, run=run, results=results)


def launches(
    generator: np.random.Generator, count: int, length: int, *, median: float = 10.0,
    noise: float = 0.01, between: float = 0.0, correlation: float = 0.0,
) -> list[np.ndarray]:  # fmt: skip
    """`count` launches of `length` samples with a tail to the right, as latencies have.

    A sample is `median` (1 + `noise` (e^z - 1)), z being standard normal: its standard deviation is
    2.2 `noise`, as a part. `between` is the standard deviation of the launches' medians;
    `correlation` is that of neighbours, of a first-order autoregression.
    """
    made = []
    for _ in range(count):
        shocks = generator.standard_normal(length)
        shocks[1:] *= np.sqrt(1 - correlation**2)
        series = lfilter([1.0], [1.0, -correlation], shocks)
        centre = median * np.exp(between * generator.standard_normal())
        made.append(centre * (1 + noise * (np.exp(series) - 1)))
    return made


def known() -> ComparisonDocument:
    """All there is to say, once: every verdict, a point twice, missing points, differences."""
    steady, sizes = result(TWICE), (8192, 16384, 32768, 65536)
    base = [steady, steady, *(result(TWICE, size) for size in sizes), result(TWICE, 8)]
    changed: list[Result] = [
        result(SLOW), steady, result([[8.0] * 10] * 2, 8192), result([[10.4] * 10] * 2, 16384),
        result([[10.0] * 9, [10.6] * 9], 32768, stop_reason="unfinished"),
        result(TWICE, 65536, check=FAILED), result([[10.0] * 5], 16),
    ]  # fmt: skip
    new = record(*changed, run_id="b" * 32, iters=100)
    new = replace(new, run=replace(new.run, status="failed", version="0.2.0"))
    short = record(result([[10.0] * 5]), run_id="c" * 32)
    made = compare(
        ("a.json", record(*base)), [("b.json", new), ("dir|c.json", short)], LAUNCHES_ALIKE, 0
    )
    return replace(made, version="0.1.0")
