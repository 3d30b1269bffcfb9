"""Which kernels a choice asks for, and building them all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import CompilerError, Interrupted, UsageError
from nvrar_bench.toolchain import cuda, nvrtc, product
from nvrar_bench.toolchain.kernel import CUDA_GATE, Elements, Kernel

NOTHING: dict[str, tuple[str, ...]] = {
    "fabric": (),
    "protocol": (),
    "dtype": (),
    "op": (),
    "threads": (),
    "exchange": (),
    "ranks_per_node": (),
}
ANY = {**NOTHING, "ranks_per_node": ("any",)}


def test_everything_is_the_full_product():
    kernels = product.choose_kernels(ANY, everything=True)
    assert len(set(kernels)) == len(kernels) == 2 * 2 * 2 * 2 * len(DTYPES) * len(OPS)
    everything = product.choose_kernels(NOTHING, everything=True)
    # Sums of three types, in doubling: 2, 4, 8 ranks per node on one node, and 1 too on several.
    assert len(set(everything)) == len(everything) == len(kernels) + 2 * 2 * 2 * 3 * (3 + 4)


def test_kernels_for_so_many_ranks_per_node():
    wanted = {**NOTHING, "dtype": ("float32", "int8"), "op": ("sum",), "fabric": ("loopback",)}
    wanted |= {"protocol": ("signal",), "threads": ("256",), "ranks_per_node": ("1", "8")}
    sums = Kernel("float32", "sum", "signal", "loopback", 256)
    assert product.choose_kernels(wanted, everything=False) == [
        sums,  # of one rank
        replace(sums, ranks_per_node=1, radix=2),
        replace(sums, ranks_per_node=8, radix=1),
        replace(sums, ranks_per_node=8, radix=2),
        replace(sums, dtype="int8"),
    ]


def test_classes_that_would_spill_are_not_built():
    wide = {**NOTHING, "threads": ("512",)}
    built = product.orders(("sm_90", "sm_100"), product.choose_kernels(wide, everything=False))
    kernels = [(one.arch, one.kernel) for one in built if isinstance(one.kernel, Kernel)]
    assert {kernel.launch_class for _, kernel in kernels} == {512}
    assert {(arch, kernel.fabric, kernel.protocol) for arch, kernel in kernels} == {
        ("sm_90", "nvshmem", "signal"), ("sm_90", "loopback", "signal"),
        ("sm_90", "loopback", "packet"),
    }  # fmt: skip
    with pytest.raises(UsageError) as caught:
        product.orders(("sm_100",), product.choose_kernels(wide, everything=False))
    assert str(caught.value) == (
        "--threads 512: these kernels would spill for sm_100; allowed: 256"
    )


def test_the_default_has_every_fabric_and_protocol_but_not_every_type():
    kernels = product.choose_kernels(ANY, everything=False)
    assert {kernel.fabric for kernel in kernels} == {"nvshmem", "loopback"}
    assert {kernel.protocol for kernel in kernels} == {"signal", "packet"}
    assert {kernel.launch_class for kernel in kernels} == {256, 512}
    assert {kernel.exchange for kernel in kernels} == {"doubling"}
    assert 4 * 2 <= len(kernels) <= 64


def test_what_is_given_is_taken_once_and_all_fills_the_rest():
    wanted = {**NOTHING, "dtype": ("int8", "int8"), "fabric": ("loopback",), "protocol": ("all",)}
    kernels = product.choose_kernels(wanted, everything=True)
    assert {kernel.dtype for kernel in kernels} == {"int8"}
    assert {kernel.fabric for kernel in kernels} == {"loopback"}
    assert len(kernels) == 2 * 2 * 2 * len(OPS)


@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("fabric", "host"),
        ("protocol", "auto"),
        ("dtype", "float31"),
        ("op", "mean"),
        ("op", ""),
        ("threads", "1024"),
    ],
)
def test_a_value_that_is_not_allowed(axis, value):
    with pytest.raises(UsageError) as caught:
        product.choose_kernels({**NOTHING, axis: (value,)}, everything=True)
    allowed = ", ".join(product.LIST_OPTIONS[axis].allowed)
    assert str(caught.value) == f"--{axis} {value!r} is not allowed; allowed: {allowed}, all"


def test_architectures_are_those_that_the_compiler_knows(monkeypatch):
    assert product.choose_architectures(()) == list(product.ARCHITECTURES)
    assert product.choose_architectures(("sm_90", "sm_80", "sm_90")) == ["sm_90", "sm_80"]
    monkeypatch.setattr(nvrtc, "architectures", lambda: ("sm_80", "sm_90"))
    assert product.choose_architectures(()) == ["sm_80", "sm_90"]
    with pytest.raises(UsageError, match="--arch sm_100: allowed: sm_80, sm_90"):
        product.choose_architectures(("sm_90", "sm_100"))


def test_a_refused_kernel_ends_it(cache, tmp_path, monkeypatch):
    (tmp_path / "fabric").mkdir()
    (tmp_path / "fabric" / "loopback.cuh").write_text("#error not today\n")
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path))
    kernels = [Kernel("float32", op, "signal", "loopback", 256) for op in OPS]
    with pytest.raises(CompilerError, match="refused kernel float32-") as caught:
        product.build_all(
            [product.BuildOrder("sm_90", kernel) for kernel in kernels], lambda _: None
        )
    assert "not today" in str(caught.value)


def test_a_run_takes_a_gate_and_elements_of_each_type_besides():
    kernels = [
        Kernel(dtype, "sum", "signal", "loopback", 256) for dtype in ("int8", "float32", "int8")
    ]
    sources = product.with_what_all_need(kernels)
    assert sources == [CUDA_GATE, Elements("int8"), Elements("float32"), *kernels]


class Deadly:
    """A kernel that ends the process which builds it."""

    name = "deadly"

    @property
    def source(self) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


def test_a_process_that_is_killed(cache):
    with pytest.raises(CompilerError, match="killed; is there enough memory"):
        product.build_all([product.BuildOrder("sm_90", Deadly())], lambda _: None)


@dataclass(frozen=True)
class Tiny:
    """A kernel that is quickly built."""

    name: str
    source: str = 'extern "C" __global__ void nvrar_all_reduce(int* x) { *x = 1; }\n'


def test_ctrl_c_does_not_build_the_rest(cache):
    def interrupt(_: product.BuildOrder) -> None:
        raise KeyboardInterrupt

    orders = [product.BuildOrder("sm_90", Tiny(f"tiny-{i}")) for i in range(200)]
    with pytest.raises(Interrupted, match="stay in the cache"):
        product.build_all(orders, interrupt)
    assert 1 <= len(list(cache.iterdir())) <= 100


def test_deliveries_come_in_the_order_of_the_orders(cache):
    orders = [product.BuildOrder("sm_90", Tiny(f"tiny-{i}")) for i in range(6)]
    told: list[str] = []
    built = product.build_all(orders, lambda order: told.append(order.name))
    assert [delivery.order.name for delivery in built] == [order.name for order in orders]
    assert sorted(told) == [order.name for order in orders]


def build_missing(sources) -> list[tuple[int, int]]:
    """What is told meanwhile."""
    told: list[tuple[int, int]] = []
    cores = os.sched_getaffinity(0)
    product.build_missing(sources, "sm_90", cores, lambda *of: told.append(of))
    return told


def test_what_the_cache_holds_is_not_built_again(cache, monkeypatch):
    sources = [Tiny(f"tiny-{i}") for i in range(4)]
    assert build_missing(sources[:3]) == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert all(cuda.is_built(source, "sm_90") for source in sources[:3])
    monkeypatch.setattr(product, "build_all", None)  # neither none nor one takes a process
    assert build_missing(sources[:3]) == []
    assert build_missing(sources) == [(0, 1), (1, 1)]


def test_processes_run_on_the_cores_that_are_named(cache, monkeypatch):
    """A rank is bound to one core; the others of its machine sleep while it builds."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        with ProcessPoolExecutor(
            1, get_context("spawn"), initializer=product._begin_work, initargs=(mine,)
        ) as pool:
            assert pool.submit(os.sched_getaffinity, 0).result() == mine
    finally:
        os.sched_setaffinity(0, mine)


_KILLED = """
import os, signal, sys
from nvrar_bench.toolchain import product
from test_product import Tiny

if __name__ == "__main__":
    orders = [product.BuildOrder("sm_90", Tiny(f"tiny-{i}")) for i in range(500)]
    product.build_all(orders, lambda order: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_compilers_end_with_a_parent_that_is_killed(cache, tmp_path):
    (tmp_path / "killed.py").write_text(_KILLED)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "killed.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path))},
        stdout=subprocess.PIPE,  # held open by every process that lives
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout
    assert len(list(cache.iterdir())) < 100
