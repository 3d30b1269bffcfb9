"""Which device a run gets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from nvrar_bench.devices import opening
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.opening import GpuOptions, choose, open_device
from nvrar_bench.errors import Unavailable, UsageError


class Ranks:
    """A communicator of ranks that have said already what they lack."""

    rank = 0

    def __init__(self, *others: str | None) -> None:
        self.others = others
        self.size = 1 + len(others)

    def allgather(self, mine: object) -> list[object]:
        return [mine, *self.others]


@pytest.fixture
def world(alone):
    def make(*others: str | None):
        names = ("a", "b", "c")[: 1 + len(others)]
        return replace(alone, comm=Ranks(*others), hosts=names, machine_of=tuple(range(len(names))))

    return make


@pytest.fixture(autouse=True)
def mps(monkeypatch):
    """`mps(text)`: what is wrong with the server of MPS, at first nothing."""

    def say(text: str | None) -> None:
        monkeypatch.setattr(opening, "mps_problem", lambda calls: text)

    monkeypatch.setattr(opening, "load_calls", lambda: None)
    say(None)
    return say


@pytest.fixture
def lacking(monkeypatch):
    """`lacking(text)`: what this rank lacks."""
    return lambda text: monkeypatch.setattr(opening.driver, "missing", lambda: text)


def test_cpu_asks_nobody(world, monkeypatch):
    monkeypatch.setattr(opening.driver, "missing", lambda: pytest.fail("asked for a driver"))
    assert choose(world(), "cpu") == "cpu"


def test_auto_is_cuda_where_every_rank_has_a_gpu(world, lacking):
    lacking(None)
    assert choose(world(None, None), "auto") == choose(world(None), "cuda") == "cuda"
    assert choose(world(None, "no driver"), "auto") == "cpu"
    lacking("no wheel")
    assert choose(world(None), "auto") == "cpu"


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_server_of_mps_in_fault_is_not_passed_over(world, lacking, mps, name):
    lacking(None)
    mps("the MPS server is in fault")
    comm = world(None).comm
    comm.allgather = lambda mine: [mine, None]
    with pytest.raises(Unavailable, match="rank 0 on a: the MPS server is in fault"):
        choose(replace(world(None), comm=comm), name)


def test_cuda_by_name_says_what_is_missing_and_on_which_rank(world, lacking):
    lacking("no driver")
    with pytest.raises(Unavailable) as caught:
        choose(world("no driver"), "cuda")
    assert str(caught.value).startswith("--device cuda is not available: no driver; or measure CPU")
    lacking(None)
    with pytest.raises(Unavailable) as caught:
        choose(world(None, "no GPU"), "cuda")
    assert str(caught.value).startswith("--device cuda is not available: rank 2 on c: no GPU; ")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (GpuOptions(graph=2), "--graph 2: "),
        (GpuOptions(share=True), "--share-gpu: "),
    ],
)
def test_cpu_ranks_refuse_what_only_gpus_have(alone, options, named):
    assert isinstance(open_device(alone, "cpu", 1.0, GpuOptions()), CpuDevice)
    with pytest.raises(UsageError) as caught:
        open_device(alone, "cpu", 1.0, options)
    assert str(caught.value).startswith(named)


def test_cold_caches_are_for_cpu_ranks_too(alone):
    device = open_device(alone, "cpu", 1.0, GpuOptions(cold_cache=True))
    assert device.facts()["cold_cache"] is True
    assert open_device(alone, "cpu", 1.0, GpuOptions()).facts()["cold_cache"] is False


@pytest.fixture
def without_nvshmem(monkeypatch):
    """A GPU on a machine where NVSHMEM does not start."""
    from nvrar_bench.devices.cuda import device, heap

    def broken(*_, **__):
        raise Unavailable("NVSHMEM did not start")

    place = SimpleNamespace(gpu=SimpleNamespace(ordinal=0))
    monkeypatch.setattr(opening.driver, "missing", lambda: None)
    monkeypatch.setattr(device, "place", lambda *_: place)
    monkeypatch.setattr(heap, "SymmetricHeap", broken)
    monkeypatch.setattr(device, "CudaDevice", lambda *_, **options: SimpleNamespace(**options))


@pytest.mark.usefixtures("without_nvshmem")
def test_without_nvshmem_there_are_no_symmetric_buffers_and_private_ones_are_named(world):
    with pytest.raises(Unavailable) as caught:
        open_device(world(), "cuda", 1.0, GpuOptions(heap_bytes=9, symmetric=True))
    assert str(caught.value) == (
        "symmetric buffers on cuda lie in NVSHMEM's heap: NVSHMEM did not start; or do without: "
        "--buffers private"
    )
    nvrar = GpuOptions(heap_bytes=9, symmetric=True, heap_required=True)
    with pytest.raises(Unavailable, match=r"^NVSHMEM did not start$"):
        open_device(world(), "cuda", 1.0, nvrar)
    device = open_device(world(), "cuda", 1.0, GpuOptions(heap_bytes=9))
    assert (device.heap, device.heap_problem) == (None, "NVSHMEM did not start")
    assert open_device(world(), "cuda", 1.0, GpuOptions()).heap_problem is None
