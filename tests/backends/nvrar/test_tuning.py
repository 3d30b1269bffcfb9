"""The shape of a launch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvrar_bench.backends.nvrar.chooser import Chooser, Chosen
from nvrar_bench.backends.nvrar.cpu import EmulatedEngine, HostEngine
from nvrar_bench.backends.nvrar.limits import Limits, gpu_limits, require_within
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Tuning
from nvrar_bench.errors import UsageError

GPU = Limits(
    max_blocks=32, max_threads=256, threads=256, min_chunk_bytes=1024, max_chunk_bytes=256 << 10,
    window_bytes={"signal": 4 << 20, "packet": 2 << 20},
    slice_per_block={"signal": 8 << 10, "packet": 4 << 10},
)  # fmt: skip


def choose(tuning: Tuning, limits: Limits, protocol: str, nbytes: int, group: int) -> Chosen:
    case = SimpleNamespace(protocol=protocol, size_bytes=nbytes)
    return Chooser(limits, group, packets_up_to=0).choose(tuning, case)


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
    shape = launch.shape
    assert (shape.blocks, shape.threads, shape.chunk_bytes) == (blocks, 256, chunk)
    assert launch.window_bytes == GPU.window_bytes[protocol]


@given(
    st.sampled_from([GPU, HostEngine.limits, EmulatedEngine.limits]),
    st.sampled_from(["signal", "packet"]),
    st.integers(1, 1 << 40),
    st.integers(1, 64),
)
def test_what_is_chosen_is_allowed(limits, protocol, nbytes, group):
    shape = choose(AUTOMATIC, limits, protocol, nbytes, group).shape
    require_within(Tuning(shape.blocks, shape.threads, shape.chunk_bytes), limits)


def test_what_the_user_fixes_stays():
    launch = choose(Tuning(7, 64, 2048), GPU, "signal", 1 << 20, 2)
    assert (launch.shape.blocks, launch.shape.threads, launch.shape.chunk_bytes) == (7, 64, 2048)


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


LOOPBACK, NVSHMEM = gpu_limits(16, "loopback", "sm_90"), gpu_limits(16, "nvshmem", "sm_90")


@pytest.mark.parametrize(
    ("protocol", "nbytes", "blocks", "threads"),
    [
        ("signal", 128 << 10, 8, 256),
        ("signal", 256 << 10, 16, 256),
        ("signal", 512 << 10, 16, 512),
        ("signal", 2 << 20, 16, 512),
        ("packet", 128 << 10, 16, 256),
        ("packet", 256 << 10, 16, 256),
        ("packet", 512 << 10, 16, 512),
        ("packet", 2 << 20, 16, 512),
    ],
)
def test_threads_are_those_that_an_h200_was_faster_with(protocol, nbytes, blocks, threads):
    """Of 8 ranks in 2 nodes: docs/measurements/2026-11-27-h200/variants, k-base and k-t512."""
    launch = choose(AUTOMATIC, LOOPBACK, protocol, nbytes, 4)
    assert (launch.shape.blocks, launch.shape.threads) == (blocks, threads)
    assert launch.launch_class == threads


def test_nothing_wide_is_chosen_that_was_not_measured_or_is_not_built():
    unmeasured = gpu_limits(16, "loopback", "sm_80")
    for limits, protocol, threads in (
        (NVSHMEM, "signal", 512), (NVSHMEM, "packet", 256), (unmeasured, "signal", 256),
    ):  # fmt: skip
        assert choose(AUTOMATIC, limits, protocol, 2 << 20, 4).shape.threads == threads


@pytest.mark.parametrize(
    ("blocks", "threads", "launch_class"),
    [(1, 32, 256), (16, 256, 256), (16, 257, 512), (17, 128, 256), (17, 160, 512), (32, 256, 512)],
)
def test_a_launch_runs_in_the_smallest_class_that_holds_it(blocks, threads, launch_class):
    launch = choose(Tuning(blocks, threads), NVSHMEM, "signal", 1 << 20, 4)
    assert launch.launch_class == launch_class


def test_blocks_that_share_a_multiprocessor_share_its_threads():
    assert choose(Tuning(blocks=32), LOOPBACK, "signal", 2 << 20, 4).shape.threads == 256
    assert choose(Tuning(blocks=32), NVSHMEM, "packet", 2 << 20, 4).shape.threads == 128


@pytest.mark.parametrize(
    ("tuning", "protocol", "message"),
    [
        (
            Tuning(32, 512),
            "signal",
            "--threads 512: signal runs at most 512 threads on a multiprocessor; "
            "allowed with --blocks 32: up to 256",
        ),
        (
            Tuning(8, 512),
            "packet",
            "--threads 512: packet runs at most 256 threads on a multiprocessor; "
            "allowed with --blocks 8: up to 256",
        ),
    ],
)
def test_what_no_kernel_is_built_for_is_refused(tuning, protocol, message):
    with pytest.raises(UsageError) as caught:
        choose(tuning, NVSHMEM, protocol, 1 << 20, 4)
    assert str(caught.value) == message


def test_cpu_ranks_have_no_class():
    assert choose(AUTOMATIC, HostEngine.limits, "signal", 1 << 20, 4).launch_class is None
