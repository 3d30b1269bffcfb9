"""Flags between two blocks: the ping-pong of ci/gpu_floor.py, on two CPU threads."""

from __future__ import annotations

import ctypes
import importlib.util
from dataclasses import dataclass

import numpy as np
import pytest

from nvrar_bench.toolchain import host

SPIN = 2000
APART = 512  # bytes between the two flags


@dataclass(frozen=True)
class FlagLatency:
    name: str = "flag-latency"
    source: str = '#include "fabric/flag_latency.cuh"\n'


@pytest.fixture(scope="module")
def play(kernel_cache):
    """`play(flags, first, rounds, seconds)`: the flag that did not come, or 0."""
    library = host.load(host.build(FlagLatency()))

    def run(flags, first: int, rounds: int, seconds: float = 20.0, spin: int = SPIN) -> int:
        missed = np.zeros(1, np.uint64)
        words = flags.ctypes.data, first, rounds, spin, int(seconds * 1e9), missed.ctypes.data
        library.nvrar_flag_latency(*map(ctypes.c_uint64, words))
        return int(missed[0])

    return run


def flags() -> np.ndarray:
    return np.zeros(2 * APART // 8, np.uint64)


def test_both_flags_count_all_rounds_and_nothing_else_is_written(play):
    game = flags()
    assert play(game, 1, 300) == 0
    assert (game[0], game[APART // 8]) == (300, 300)
    assert np.count_nonzero(game) == 2


def test_a_second_game_goes_on_where_the_first_ended(play):
    game = flags()
    for first, rounds in ((1, 50), (51, 1), (52, 49)):
        assert play(game, first, rounds) == 0
        assert game[0] == game[APART // 8] == first + rounds - 1


def test_no_rounds_touch_nothing(play):
    game = flags()
    assert play(game, 7, 0) == 0
    assert not game.any()


def test_a_flag_that_does_not_come_in_time_ends_the_game(play):
    """Without a poll and without time, no flag can come."""
    game = flags()
    assert play(game, 9, 100, seconds=0, spin=0) == 9
    assert (game[0], game[APART // 8]) == (9, 0), "player 0 served, and nobody answered"


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_it_compiles_for_gpus(kernel_cache, arch):
    if importlib.util.find_spec("cuda.bindings") is None:
        pytest.skip("cuda-bindings is not installed")
    from nvrar_bench.toolchain import cuda

    usage = cuda.build(FlagLatency(), arch).resource_usage()
    assert (usage.spill_stores, usage.spill_loads) == (0, 0)
