"""The shape of a launch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Limits, Tuning, choose, require_within
from nvrar_bench.errors import UsageError

GPU = Limits(
    max_blocks=32, max_threads=256, threads=256, min_chunk_bytes=1024, max_chunk_bytes=256 << 10,
    window_bytes={"signal": 4 << 20, "packet": 2 << 20},
    slice_per_block={"signal": 8 << 10, "packet": 4 << 10},
)  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "nbytes", "group", "blocks", "chunk"),
    [
        ("signal", 4, 8, 1, 1024),
        ("signal", 128 << 10, 8, 2, 8 << 10),
        ("packet", 128 << 10, 8, 4, 4 << 10),
        ("signal", 2 << 20, 4, 32, 16 << 10),
        ("signal", 1 << 30, 1, 32, 128 << 10),
    ],
)
def test_blocks_follow_the_slice(protocol, nbytes, group, blocks, chunk):
    launch = choose(AUTOMATIC, GPU, protocol, nbytes, group)
    assert (launch.blocks, launch.threads, launch.chunk_bytes) == (blocks, 256, chunk)
    assert launch.window_bytes == GPU.window_bytes[protocol]


@given(
    st.sampled_from([GPU, HostEngine.limits, EmulatedEngine.limits]),
    st.sampled_from(["signal", "packet"]),
    st.integers(1, 1 << 40),
    st.integers(1, 64),
)
def test_what_is_chosen_is_allowed(limits, protocol, nbytes, group):
    launch = choose(AUTOMATIC, limits, protocol, nbytes, group)
    require_within(Tuning(launch.blocks, launch.threads, launch.chunk_bytes), limits)


def test_what_the_user_fixes_stays():
    launch = choose(Tuning(7, 64, 2048), GPU, "signal", 1 << 20, 2)
    assert (launch.blocks, launch.threads, launch.chunk_bytes) == (7, 64, 2048)


@pytest.mark.parametrize(
    ("tuning", "limits", "message"),
    [
        (Tuning(blocks=33), GPU, "--blocks 33: allowed here: 1 to 32"),
        (Tuning(blocks=2), HostEngine.limits, "--blocks 2: allowed here: 1"),
        (Tuning(threads=512), GPU, "--threads 512: allowed here: 1 to 256"),
        (Tuning(chunk_bytes=16), GPU, "--chunk 16: allowed here: 1024 to 262144"),
        (Tuning(chunk_bytes=1028), GPU, "--chunk 1028: allowed: a multiple of 16 bytes"),
    ],
)
def test_what_does_not_fit_is_refused(tuning, limits, message):
    with pytest.raises(UsageError) as caught:
        require_within(tuning, limits)
    assert str(caught.value) == message
