"""The floor: the model against counts made by hand, and its measurement on a fake driver."""

from __future__ import annotations

import ctypes
import json

import fake_driver
import gpu_floor
import pytest
from gpu_model import Cost, Floor, cost
from gpu_run import read_floors

from nvrar_bench.devices.cuda.calls import Calls
from nvrar_bench.devices.cuda.device import CudaDevice, GpuPlacement
from nvrar_bench.devices.cuda.driver import describe
from nvrar_bench.devices.cuda.timing import BATCH, GpuTimer
from nvrar_bench.errors import TimedOut
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import CUDA_GATE


@pytest.mark.parametrize(
    ("protocol", "ranks", "nodes", "slices", "hops"),
    [
        # One node: G slices read, the result written to G outputs; entry and exit.
        ("signal", 2, 1, 4, 2),
        ("signal", 4, 1, 8, 2),
        # 4 + 1 in phase 1; a put of 2; 2 combined; 4 outputs.
        ("signal", 8, 2, 13, 3),
        # 2 + 1; two steps of a put of 2 and 2 combined; one partial result; 2 outputs.
        ("signal", 8, 4, 14, 4),
        # One rank per node, one step of radix 3: 2 puts of 2, 3 combined, one output.
        ("signal", 3, 3, 8, 1),
        # 3 scattered, 3 + 2 read to reduce, so 3 * 1 + 2 * 1 + 1; delivered 1 + 2; gathered 3.
        ("packet", 2, 1, 12, 2),
        # 9 scattered, 7 read, 1 stored; 2 + 3 in the step; 7 delivered, 9 gathered.
        ("packet", 8, 2, 38, 3),
        # 1 read; two steps of a put of 2 and 3 combined; one partial result, one output.
        ("packet", 4, 4, 13, 2),
    ],
)
def test_what_an_all_reduce_moves(protocol, ranks, nodes, slices, hops):
    nbytes = 1 << 20
    assert cost(protocol, ranks, nodes, nbytes) == Cost(
        ranks * slices * nbytes // (ranks // nodes), hops
    )


def test_what_the_model_does_not_know_has_no_cost():
    assert cost("signal", 11, 11, 1024) is None, "a node is folded"
    assert cost("packet", 8, 2, (2 << 20) + 1) is None, "two windows"


def test_the_floor_is_what_a_copy_adds_to_a_kernel_then_hops_and_a_kernel_without_events():
    floor = Floor(((1000, 2.0), (3000, 4.0), (9000, 10.0)), 0.5, empty_kernel_us=1.5, event_us=0.25)
    assert floor.of(Cost(1000, 0)) == (2.0 - 1.5) + (1.5 - 0.25)
    assert floor.of(Cost(2000, 3)) == (3.0 - 1.5) + 3 * 0.5 + (1.5 - 0.25)
    assert floor.of(Cost(9000, 2)) == (10.0 - 1.5) + 2 * 0.5 + (1.5 - 0.25)
    assert floor.of(Cost(9001, 2)) is None
    assert floor.of(Cost(999, 2)) is None
    assert floor.of(None) is None


def test_a_copy_that_is_shorter_than_a_kernel_adds_nothing():
    floor = Floor(((1000, 1.0), (3000, 4.0)), 0.5, empty_kernel_us=1.5, event_us=0.25)
    assert floor.of(Cost(1000, 2)) == 2 * 0.5 + 1.25


class Driver(fake_driver.FakeDriver):
    """Copies take a nanosecond for 10 bytes."""

    def cuMemcpyDtoDAsync(self, target, source, nbytes, stream):  # noqa: N802
        def copy():
            ctypes.memmove(target, source, nbytes)
            self.clock_ns += nbytes // 10

        return self._enqueue(copy)


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setitem(fake_driver._KERNELS, "nvrar_flag_latency", (6, None))
    return Driver(memory=1 << 26)


@pytest.fixture
def device(alone, driver, kernel_cache):
    calls = Calls(driver)
    placement = GpuPlacement(describe(calls, 0), (), 1)
    build = lambda kernel, arch: str(host.build(kernel)).encode()  # noqa: E731
    return CudaDevice(alone, 5.0, placement, calls=calls, build=build)


def test_a_measurement_has_all_that_the_summary_reads(device, driver, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_floor, "SIZES", (4096, 8192))
    driver.kernel_ns = 6000
    before = len(driver.held)
    found = gpu_floor.measure(device, "4x2,2x1", rounds=10, samples=3)
    needed = {
        cost(protocol, *shape, size).moved_bytes
        for protocol in ("signal", "packet") for shape in ((4, 2), (2, 1)) for size in (4096, 8192)
    }  # fmt: skip
    for kind, calls in (("queued", BATCH), ("graph", 10)):
        part = found[kind]
        assert part["calls"] == calls
        assert part["event_us"] == pytest.approx(device.timer.facts["event_cost_us"] / calls)
        assert part["flag"]["samples_us"] == [pytest.approx(0.3)] * 3
        assert part["empty_kernel_us"] == 6.0
        assert [copy["moved_bytes"] for copy in part["copies"]] == sorted(needed)
        for copy in part["copies"]:
            assert copy["median_us"] == pytest.approx(copy["moved_bytes"] / 2 / 10 / 1e3, abs=1e-3)
            assert copy["gb_per_s"] == pytest.approx(20, rel=1e-2)
    assert driver.log.count("cuGraphInstantiate") == 2 + len(needed)
    (tmp_path / "floor.json").write_text(json.dumps(found))
    floors = read_floors(tmp_path / "floor.json")
    assert floors["graph"].empty_kernel_us == 6.0
    assert floors["graph"].event_us == found["graph"]["event_us"]
    assert floors["queued"].one_way_us == pytest.approx(0.3)
    assert found["environment"]["gpu"] == "Fake GPU"
    device.close()
    assert len(driver.held) < before


def test_a_graph_of_flags_can_be_played_again(device):
    """Each replay begins with a value below those that the one before has left."""
    graphs = GpuTimer(device.memory, device.build(CUDA_GATE), graph=3)
    operation = gpu_floor.PingPong(device, 5)
    samples = gpu_floor.Stopwatch(device, graphs, 3).samples_us(operation, 4, 1)
    assert len(samples) == 4
    assert device.memory.to_host(operation._flags).view("u8")[0] == 5 + 3 * 5
    graphs.close()


def test_a_flag_that_does_not_come_is_said(device, monkeypatch):
    monkeypatch.setattr(gpu_floor, "_SPIN", 0)
    monkeypatch.setattr(gpu_floor, "TIMEOUT_S", 0.0)
    operation = gpu_floor.PingPong(device, 5)
    operation.launch()
    with pytest.raises(TimedOut, match="flag 1 did not arrive in 0 s"):
        device.finish(operation)


def test_every_launch_goes_on_counting(device):
    operation = gpu_floor.PingPong(device, 5)
    for _ in range(3):
        operation.launch()
        device.finish(operation)
    assert device.memory.to_host(operation._flags).view("u8")[0] == 15


def test_without_a_gpu_it_says_so(tmp_path, monkeypatch, capsys):
    def no_device():
        raise TimedOut("no GPU here")

    monkeypatch.setattr(gpu_floor, "_open_device", no_device)
    monkeypatch.setattr("sys.argv", ["gpu_floor.py", "--json", str(tmp_path / "floor.json")])
    assert gpu_floor.main() == TimedOut.exit_code
    assert "no GPU here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
