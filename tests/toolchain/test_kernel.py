"""What there is to build, and from which sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nvrar_bench.errors import Unavailable
from nvrar_bench.files import data_dir
from nvrar_bench.toolchain.kernel import (
    START_GATE,
    Kernel,
    kernels_dir,
    launch_classes,
    sources_digest,
)
from nvrar_bench.toolchain.structs import (
    CArguments,
    CCall,
    CFailure,
    CGate,
    CLayout,
    CNativeCall,
    CSequence,
    CStep,
    CVirtualRanks,
    CWorkMemory,
    layout_checks,
)


@pytest.mark.parametrize(
    ("kernel", "entry"),
    [
        (Kernel("float32", "sum", "signal", "host"), "NVRAR_ENTRY(float, Sum, Signal)"),
        (Kernel("float8_e4m3", "avg", "packet", "host"), "NVRAR_ENTRY(__nv_fp8_e4m3, Avg, Packet)"),
    ],
)
def test_a_kernel_asks_for_its_specialisation(kernel, entry):
    code, checks = kernel.source.split(f"{entry}\n")
    assert code == '#include "fabric/host.cuh"\n#include "all_reduce.cuh"\n'
    assert checks == layout_checks(CFailure, CLayout, CStep, CArguments)
    assert kernel.name == f"{kernel.dtype}-{kernel.op}-{kernel.protocol}-host"


def test_a_kernel_for_gpus_is_bounded_to_its_launch_class():
    kernel = Kernel("float32", "sum", "signal", "loopback", 512)
    assert kernel.name == "float32-sum-signal-loopback-512"
    code, checks = kernel.source.split("NVRAR_ENTRY(float, Sum, Signal)\n")
    assert code == (
        "#define NVRAR_LAUNCH_CLASS 512\n#define NVRAR_IN_FLIGHT 4\n#define NVRAR_HALVING 0\n"
        "#define NVRAR_RANKS_PER_NODE 0\n#define NVRAR_RADIX 0\n"
        '#include "fabric/loopback.cuh"\n#include "all_reduce.cuh"\n'
    )
    assert checks == layout_checks(CFailure, CLayout, CStep, CArguments, CVirtualRanks)


def test_a_kernel_for_gpus_has_one_exchange():
    doubling = Kernel("float32", "sum", "signal", "loopback", 256)
    halving = Kernel("float32", "sum", "signal", "loopback", 256, "halving")
    assert halving.name == f"{doubling.name}-halving"
    assert halving.source == doubling.source.replace("HALVING 0", "HALVING 1") != doubling.source


SUM = Kernel("bfloat16", "sum", "packet", "nvshmem", 256)


@pytest.mark.parametrize(
    ("kernel", "ranks_per_node", "radices", "is_folding", "shape"),
    [
        (SUM, 8, (), False, (8, 1)),
        (SUM, 4, (2, 2), False, (4, 2)),
        (SUM, 1, (2,), False, (1, 2)),
        (SUM, 1, (), False, (0, 0)),
        (SUM, 3, (2,), False, (0, 0)),
        (SUM, 4, (2, 3), False, (0, 0)),
        (SUM, 4, (2, 2), True, (0, 0)),
        (replace(SUM, exchange="halving"), 4, (2, 2), False, (0, 0)),
        (replace(SUM, op="avg"), 4, (2,), False, (0, 0)),
        (replace(SUM, dtype="int8"), 4, (2,), False, (0, 0)),
        (Kernel("float32", "sum", "signal", "host"), 4, (2,), False, (0, 0)),
    ],
)
def test_the_usual_shapes_of_what_models_reduce_have_kernels_of_their_own(
    kernel, ranks_per_node, radices, is_folding, shape
):
    found = kernel.for_run(ranks_per_node, radices, is_folding)
    assert (found.ranks_per_node, found.radix) == shape
    assert (found == kernel) == (shape == (0, 0))
    if shape != (0, 0):
        assert f"NVRAR_RANKS_PER_NODE {shape[0]}\n#define NVRAR_RADIX {shape[1]}\n" in found.source
        assert found.name == f"{kernel.name}-{shape[0]}-per-node-radix-{shape[1]}"
        assert found in kernel.usual(ranks_per_node)


@pytest.mark.parametrize(
    ("dtype", "fabric", "launch_class", "in_flight"),
    [
        ("bfloat16", "loopback", 256, 4),
        ("bfloat16", "loopback", 512, 2),
        ("float8_e5m2", "loopback", 512, 2),
        ("int8", "loopback", 512, 4),
        ("float32", "nvshmem", 256, 4),
        ("float32", "nvshmem", 512, 2),
    ],
)
def test_where_registers_are_few_less_is_in_flight(dtype, fabric, launch_class, in_flight):
    kernel = Kernel(dtype, "sum", "signal", fabric, launch_class)
    assert f"#define NVRAR_IN_FLIGHT {in_flight}\n" in kernel.source


def test_from_sm_100_on_less_is_in_flight_over_nvshmem():
    kernel = Kernel("bfloat16", "sum", "packet", "nvshmem", 256)
    for one in (kernel, kernel.for_run(8, (2,), is_folding=False)):
        assert "#if __CUDA_ARCH__ >= 1000\n#define NVRAR_IN_FLIGHT 1\n#else\n" in one.source
    assert "1000\n#define NVRAR_IN_FLIGHT 2\n" in replace(kernel, dtype="float32").source
    usual = replace(kernel, protocol="signal").for_run(8, (2,), is_folding=False)
    for one in (usual, replace(kernel, fabric="loopback")):
        assert "__CUDA_ARCH__" not in one.source


def test_packets_of_any_shape_need_more_registers_than_those_of_one():
    kernel = Kernel("float32", "sum", "packet", "loopback", 512)
    assert "#define NVRAR_IN_FLIGHT 2\n" in kernel.source
    assert "#define NVRAR_IN_FLIGHT 4\n" in kernel.for_run(4, (2,), is_folding=False).source
    assert (
        "#define NVRAR_IN_FLIGHT 1\n" in replace(kernel, dtype="float16", exchange="halving").source
    )


def test_the_start_gate_is_built_like_a_kernel():
    *includes, checks = START_GATE.source.split("\n", 2)
    assert includes == ['#include "fabric/host_gate.cuh"', '#include "work.cuh"']
    assert checks == layout_checks(CFailure, CGate, CNativeCall, CCall, CSequence, CWorkMemory)
    assert START_GATE.name == "start-gate-host"


def test_the_sources_are_those_that_ship_or_those_that_are_named(tmp_path, monkeypatch):
    assert kernels_dir() == data_dir("kernels")
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path))
    assert kernels_dir() == tmp_path


def test_a_folder_of_sources_that_is_none_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path / "nowhere"))
    with pytest.raises(Unavailable) as caught:
        kernels_dir()
    assert str(caught.value) == (
        f"NVRAR_BENCH_KERNELS={tmp_path}/nowhere: no such folder; unset it or name one"
    )


def test_an_empty_variable_names_no_folder(monkeypatch):
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", "")
    assert kernels_dir() == data_dir("kernels")


def folder_with(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_cuh", ".cuh")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_digest_sees_names_and_contents_of_all_sources(tmp_path):
    variants = [
        {"a_cuh": "1", "b_cuh": "2"},
        {"a_cuh": "1", "b_cuh": "3"},
        {"a_cuh": "12", "b_cuh": ""},
        {"a_cuh": "1", "c_cuh": "2"},
        {"a_cuh": "1", "sub__b_cuh": "2"},
        {"a_cuh": "1"},
    ]
    digests = [
        sources_digest(folder_with(tmp_path / str(index), **files))
        for index, files in enumerate(variants)
    ]
    assert len(set(digests)) == len(variants)
    same = folder_with(tmp_path / "same", **variants[0], notes="of no concern")
    assert sources_digest(same) == digests[0]


def test_over_nvshmem_sm_80_has_no_wide_kernels():
    """float8_e4m3 spills there, as everything does from sm_100 on."""
    assert launch_classes("nvshmem", "sm_80") == {"signal": (256,), "packet": (256,)}
    assert launch_classes("loopback", "sm_80") == {"signal": (256, 512), "packet": (256, 512)}
    assert launch_classes("nvshmem", "sm_90") == {"signal": (256, 512), "packet": (256,)}
    assert launch_classes("loopback", "sm_120") == {"signal": (256,), "packet": (256,)}
