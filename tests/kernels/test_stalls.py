"""A rank that stalls inside the kernel, at each place where others could overtake it.

The stall is written into a copy of the kernel. In a window whose slices are empty on one rail, the
ranks of that rail have nothing to wait for but each other's flags: without those a rank runs ahead
into the next call and reuses memory that the stalled one still reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "kernels"
STALL = "if (arguments.rank == {rank} && {when}) usleep(200000);"

COMBINE = "bool combine(const Window& window, const Stage& stage) {"

# Where the stalled rank stops: text of the protocol's source that the stall goes behind, and when.
PLACES = {
    "signal before its puts": (
        "signal",
        "void send_turn(const Window& window, u32 turn, u32 level) {",
    ),
    "signal before it combines": (
        "signal",
        "bool receive_turn(const Window& window, u32 turn, u32 level) {",
    ),
    "signal before it gathers": ("signal", "bool all_gather(const Window& window) {"),
    "packet before it reduces": ("packet", COMBINE, "stage.level == 0"),
    "packet before it combines": ("packet", COMBINE, "stage.level == 1"),
    "packet before it gathers": ("packet", "bool all_gather(const Window& window) {"),
}
WINDOW = {"signal": 512 << 10, "packet": 128 << 10}


@pytest.mark.parametrize(("place", "rank"), list(zip(PLACES, [1, 2] * 3, strict=True)))
def test_nobody_overtakes_a_stalled_rank(
    run_ranks: Callable[..., object], tmp_path: Path, place: str, rank: int
) -> None:
    protocol, after, *when = PLACES[place]
    kernels = tmp_path / "kernels"
    shutil.copytree(KERNELS, kernels)
    source = kernels / f"{protocol}.cuh"
    text = source.read_text()
    assert text.count(after) == 1
    stall = STALL.format(rank=rank, when=" && ".join(["window.epoch % 3 == 0", *when]))
    text = text.replace(after, f"{after}\n        {stall}")
    source.write_text(
        text.replace('#include "span.cuh"', '#include <unistd.h>\n#include "span.cuh"')
    )
    window = WINDOW[protocol]
    done = run_ranks(
        4, HERE / "worker_stall.py", protocol, window + 4, 2 * window + 20, 4,
        environment={"NVRAR_BENCH_KERNELS": str(kernels)},
    )  # fmt: skip
    assert done.code == 0, done.stderr[-3000:]
