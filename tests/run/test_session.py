"""A whole run on the backend with a clock of its own: every number is known."""

from __future__ import annotations

import pytest

from nvrar_bench.run.session import gpu_options
from nvrar_bench.run.stages import stages
from nvrar_bench.settings.casefile import Sweep
from nvrar_bench.settings.plans import build_plan
from nvrar_bench.settings.settings import Settings
from nvrar_bench.timing.stopping import Stopping

# Call k takes (10 us + size / 10 GB/s) * (1 + k mod 11 / 100). Calls 0 to 3 verify; then each of
# the ten turns has one call that is not timed, and the timed ones.
SIZES = {
    # 10.4096 us: of turns with one timed call each, calls 5, 7, ... 23 are timed.
    4096: {
        "samples_us": [
            10.93, 11.138, 11.346, 10.41, 10.618, 10.826, 11.034, 11.242, 11.451, 10.514,
        ],
        "latency_us": {
            "median": 10.982, "ci95_low": 10.514, "ci95_high": 11.346, "mean": 10.9509,
            "min": 10.41, "max": 11.451, "p95": None, "p99": None,
        },
        "algbw_gb_per_s": 4096 / 10982,
    },
    1048576: {
        "samples_us": [
            120.6, 122.898, 125.195, 114.858, 117.155, 119.452, 121.749, 124.046, 126.343, 116.006,
        ],
        "latency_us": {
            "median": 121.1745, "ci95_low": 116.006, "ci95_high": 125.195, "mean": 120.8302,
            "min": 114.858, "max": 126.343, "p95": None, "p99": None,
        },
        "algbw_gb_per_s": 1048576 / 121174.5,
    },
}  # fmt: skip


@pytest.fixture
def run(run_command):
    def go(*arguments: object, code: int = 0) -> dict:
        done = run_command("sweep", "--backend", "fake", "--json", "-", *arguments)
        assert done.code == code, done.stderr
        return done.record()

    return go


def test_every_number_of_the_record(run):
    sizes = ",".join(map(str, SIZES))
    record = run("--ranks", 4, "--nodes", 2, "--sizes", sizes, "--iters", 10, "--warmup", 0)
    assert record["run"]["status"] == "complete"
    assert len(record["results"]) == len(SIZES)
    for result, (size, known) in zip(record["results"], SIZES.items(), strict=True):
        assert result["samples_us"] == pytest.approx(known["samples_us"], abs=6e-4)
        assert result["latency_us"] == pytest.approx(known["latency_us"], abs=6e-4)
        assert result["algbw_gb_per_s"] == pytest.approx(known["algbw_gb_per_s"], rel=1e-4)
        assert result["busbw_gb_per_s"] == pytest.approx(1.5 * known["algbw_gb_per_s"], rel=1e-4)
        assert (result["size_bytes"], result["count"]) == (size, size // 4)
        assert (result["samples"], result["warmup"]) == (10, 0)
        # Four verified calls, one look after each of ten turns, one call at the end; on four ranks.
        assert result["check"] == {
            "status": "passed", "mode": "exact", "elements": 15 * 4 * size // 4, "wrong": 0,
            "first_wrong": None, "timed": True,
        }  # fmt: skip
    topology = record["topology"]
    assert (topology["ranks"], topology["nodes"], topology["ranks_per_node"]) == (4, 2, 2)
    assert topology["virtual_nodes"] is True
    assert [place["node"] for place in topology["placement"]] == [0, 0, 1, 1]


def test_a_sample_is_a_batch_by_its_calls_whatever_times_it(run):
    """The calls of the fake go through a cycle of eleven, which is the batch here."""
    arguments = ("--ranks", 2, "--sizes", 4096, "--iters", 6, "--batch", 11)
    record = run(*arguments, "--backend", "fake,nvrar,mpi", "--in-place")
    assert record["settings"]["batch"] == 11
    fake, nvrar, mpi = record["results"]
    mean = 1.05 * (10 + 0.4096)
    assert fake["samples_us"] == pytest.approx([mean] * 6, abs=6e-4)
    for result in (fake, nvrar, mpi):
        assert (result["batch"], result["samples"]) == (11, 6)
        assert (result["check"]["status"], result["check"]["timed"]) == ("passed", False)
        # As many as without a batch: a call of its own is checked behind each of six turns.
        assert result["check"]["elements"] == 11 * 2 * 1024
        assert sum("calls of their own were verified" in text for text in result["warnings"]) == 1
    record = run(*arguments, "--backend", "nvrar")
    assert record["results"][0]["check"]["timed"] is True
    assert not any("calls of their own" in text for text in record["results"][0]["warnings"])
    record = run(*arguments, "--in-place", "--no-check")
    assert record["results"][0]["check"]["status"] == "skipped"
    assert not any("calls of their own" in text for text in record["results"][0]["warnings"])


def test_percentiles_appear_with_enough_samples(run):
    record = run("--ranks", 1, "--sizes", 4096, "--iters", 110, "--warmup", 6)
    latency = record["results"][0]["latency_us"]
    # Twenty turns of 5 or 6 timed calls, through the cycle of eleven. Samples that rise
    # and rise tell less of the median than independent ones: the interval is wider for it.
    assert latency == pytest.approx(
        {
            "median": 10.93, "ci95_low": 10.722, "ci95_high": 11.138, "mean": 10.9244,
            "min": 10.41, "max": 11.451, "p95": 11.451, "p99": 11.451,
        },
        abs=6e-4,
    )  # fmt: skip


def test_the_same_case_in_a_case_file(run, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        '[[sweep]]\nname = "a"\nsizes = [4096]\nnodes = [1, 2, 3]\niters = 1\nwarmup = 0\n'
        '[[sweep]]\nname = "b"\ncounts = [7]\ndtype = "int8"\nop = ["max", "avg"]\nnodes = [2]\n'
        "iters = 2\nwarmup = 1\n"
    )
    record = run("--ranks", 2, "--case", file)
    seen = [(r["variant"], r["op"], r["size_bytes"], r["samples"]) for r in record["results"]]
    assert seen == [
        ("fake@1", "sum", 4096, 1), ("fake@2", "sum", 4096, 1), ("fake", "max", 7, 2),
        ("fake", "avg", 7, 2),
    ]  # fmt: skip
    assert record["skipped"] == [
        {"backend": "all", "reason": "sweep a at 3 nodes: 2 ranks cannot be split into 3"}
    ]


@pytest.mark.parametrize(
    ("backends", "buffers", "opened", "required", "symmetric"),
    [
        ((), ("symmetric",), True, False, True),
        ((), ("private",), True, False, False),
        (("nvrar",), ("private",), True, True, False),
        (("nccl", "mpi"), ("private", "symmetric"), True, False, True),
        (("nccl",), ("private",), False, False, False),
    ],
)
def test_the_heap_of_gpus_is_opened_for_nvrar_and_for_symmetric_buffers(
    alone, backends, buffers, opened, required, symmetric
):
    sweep = Sweep("sweep", (), (), None, None, build_plan((4096,), buffers=buffers))
    settings = Settings((sweep,), backends, "cuda", Stopping(9), 9, True, None, 1.0, 0)
    options = gpu_options(settings, stages(settings, alone))
    assert (options.heap_bytes is not None) == opened
    assert options.heap_bytes is None or options.heap_bytes > 2 * 4096 * 4
    assert (options.heap_required, options.symmetric) == (required, symmetric)
