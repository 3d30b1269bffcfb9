"""Settings as the record tells them."""

from __future__ import annotations

from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.settings.settings import Settings
from nvrar_bench.timing.stopping import Stopping


def test_every_option_as_resolved():
    plans = [
        build_plan((4096, 64), dtypes=("int8", "float32"), ops=("max",)),
        build_plan(
            (64, 128), placements=("in_place",), buffers=("private",), protocols=("packet",)
        ),
    ]
    sweeps = tuple(Sweep(f"s{i}", (), (), None, None, plan) for i, plan in enumerate(plans))
    settings = Settings(
        sweeps, ("mpi",), "auto", Stopping(3), warmup=1, check=False, nodes=2, timeout=1.5, seed=9
    )
    assert settings.to_json() == {
        "sweeps": ["s0", "s1"],
        "sizes": [64, 128, 4096],
        "dtype": ["int8", "float32"],
        "op": ["max", "sum"],
        "placement": ["out_of_place", "in_place"],
        "buffers": ["symmetric", "private"],
        "protocol": ["auto", "packet"],
        "check_mode": ["exact"],
        "backends": ["mpi"],
        "device": "auto",
        "iters": 3,
        "precision": None,
        "min_samples": 100,
        "max_samples": 100_000,
        "max_time_s": 5.0,
        "warmup": 1,
        "check": False,
        "wrap_asked": False,
        "nodes": 2,
        "timeout_s": 1.5,
        "seed": 9,
        "start": "auto",
        "interleave": True,
        "virtual_ranks": None,
        "blocks": None,
        "threads": None,
        "chunk_bytes": None,
        "radix": None,
        "exchange": None,
        "tuning": None,
        "tuning_sha256": None,
        "tune": None,
        "decode": None,
        "late": None,
        "batch": None,
        "graph": 1,
        "cold_cache": False,
        "share_gpu": False,
        "mapped_nodes": False,
        "soak": None,
        "network": None,
        "one_state": False,
        "first_epoch": 1,
        "launches": 1,
    }
