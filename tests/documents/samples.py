"""Small records whose every value is known."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from nvrar_bench.documents.record import RankPlace, RunRecord, Topology
from nvrar_bench.documents.result import (
    Arrival,
    Check,
    FirstWrong,
    Independence,
    Latency,
    Launches,
    LaunchShape,
    Precision,
    Result,
    State,
    Stretch,
)

TOPOLOGY = Topology(
    ranks=2,
    nodes=2,
    ranks_per_node=1,
    virtual_nodes=True,
    placement=(RankPlace(0, "box", 0, 0, "cpu"), RankPlace(1, "box", 1, 0, None)),
)
RESULT = Result(
    backend="fake",
    variant="",
    device="cpu",
    buffers="symmetric",
    dtype="float32",
    op="sum",
    placement="out_of_place",
    size_bytes=4096,
    count=1024,
    latency_us=Latency(2.5, 2.25, 2.75, 3.0, 2.0, 9.5, None, None),
    samples=3,
    samples_us=(2.0, 2.5, 9.5),
    launch_samples=(3,),
    late=(2,),
    warmup=5,
    stop_reason="iterations",
    precision=Precision(0.01, None),
    independence=Independence(2.0, None, None),
    launches=Launches(1, (2.25,), None, None),
    arrivals=(Arrival(0, 0, 0.0, 0.0), Arrival(0, 1, 0.125, 4.5)),
    algbw_gb_per_s=1.6384,
    busbw_gb_per_s=1.6384,
    check=Check("passed", "exact", 2048, 0, None, timed=True),
    warnings=("a [bracket], an é",),
    stretches=(Stretch(3, 0.125, 2.0, 2.5),),
    state=State(0.125, 2.0, 2.5, 0),
    shape=LaunchShape(2, 64, 4096, 2, "halving", 8192),
    batch=1,
)
WRONG = replace(
    RESULT,
    check=Check("failed", "rounding", 2048, 7, FirstWrong(1, 3, 1.5, "nan"), timed=True),
    warnings=(),
)


def begin(**settings: Any) -> RunRecord:
    return RunRecord.begin(
        command=["sweep", "--min", "4K"],
        version="0.1.0",
        settings=settings,
        topology=TOPOLOGY,
        environment={"cpu": "a CPU", "cores": 2},
    )


def full() -> RunRecord:
    record = begin(seed=3, sizes=[4096]).with_result(RESULT).with_result(WRONG)
    record = record.with_skipped("nccl", "no CUDA device is visible")
    return record.with_error(ValueError("too late")).finished("failed")
