"""What kernels use of a GPU, as their cubins and the compiler's log say."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from gpu_sources import ARCH, Text

from nvrar_bench.errors import CompilerError
from nvrar_bench.toolchain import cuda
from nvrar_bench.toolchain.kernel import Kernel, launch_classes
from nvrar_bench.toolchain.resource_usage import read, spills

FUSED = [
    Kernel("float32", "sum", protocol, fabric, launch_class)
    for fabric in ("loopback", "nvshmem")
    for protocol, classes in launch_classes(fabric, ARCH).items()
    for launch_class in classes
]
# NVSHMEM's puts take most of the registers, and narrow floats the most of the rest.
TIGHT = [Kernel(dtype, "avg", "packet", "nvshmem", 256) for dtype in ("bfloat16", "float8_e4m3")]
TIGHT += [Kernel("bfloat16", "avg", "packet", "loopback", 512)]


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kernel], cuda.Built]:
    """`fused(kernel)`: build it for ARCH, once for all tests."""
    folder = tmp_path_factory.mktemp("kernels")

    def build(kernel: Kernel) -> cuda.Built:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NVRAR_BENCH_CACHE", str(folder))
            return cuda.build(kernel, ARCH)

    return build


@pytest.mark.parametrize("kernel", FUSED + TIGHT, ids=lambda kernel: kernel.name)
def test_a_kernel_fits_into_the_registers(kernel, fused):
    usage = fused(kernel).resource_usage()
    assert (usage.spill_stores, usage.spill_loads) == (0, 0)
    assert 32 <= usage.registers <= min(255, (1 << 16) // kernel.launch_class)
    assert usage.constant > 0
    assert usage.cubin == fused(kernel).cubin.stat().st_size


def test_registers_are_those_that_ptxas_reports(fused):
    built = fused(Kernel("float32", "sum", "packet", "loopback", 256))
    reported = [int(number) for number in re.findall(r"Used (\d+) registers", built.log)]
    assert built.resource_usage().registers in reported


def test_a_kernel_that_spills_is_seen(cache):
    spilling = Text(
        'extern "C" __global__ __launch_bounds__(1024) void nvrar_all_reduce(double* x) {\n'
        "    double v[80];\n"
        "    for (int i = 0; i < 80; ++i) v[i] = x[i * blockDim.x + threadIdx.x];\n"
        "    __syncthreads();\n"
        "    for (int i = 0; i < 80; ++i) x[v[79 - i] > 0 ? i : 0] = v[i] * v[79 - i];\n"
        "}\n"
    )
    usage = cuda.build(spilling, ARCH).resource_usage()
    assert usage.registers == 64
    assert usage.spill_stores > 0
    assert usage.spill_loads > 0


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_static_shared_memory_and_arguments_are_counted(arch, cache):
    kernel = Text(
        'extern "C" __global__ void nvrar_all_reduce(int* out) {\n'
        "    __shared__ int all[256];\n"
        "    all[threadIdx.x] = out[threadIdx.x];\n"
        "    __syncthreads();\n"
        "    out[threadIdx.x] = all[255 - threadIdx.x];\n"
        "}\n"
    )
    built = cuda.build(kernel, arch)
    usage = built.resource_usage()
    assert f"Used {usage.registers} registers" in built.log
    assert (usage.shared, usage.stack) == (1024, 0)
    assert 8 <= usage.constant < 4096


def test_of_several_kernels_the_largest_of_each_number(cache):
    both = Text(
        'extern "C" __global__ void nvrar_wide(double* x) {\n'
        "    double v[40];\n"
        "    for (int i = 0; i < 40; ++i) v[i] = x[i * blockDim.x + threadIdx.x];\n"
        "    __syncthreads();\n"
        "    for (int i = 0; i < 40; ++i) x[v[39 - i] > 0 ? i : 0] = v[i] * v[39 - i];\n"
        "}\n"
        'extern "C" __global__ void nvrar_sharing(int* out, int more, int and_more) {\n'
        "    __shared__ int all[256];\n"
        "    all[threadIdx.x] = out[threadIdx.x];\n"
        "    __syncthreads();\n"
        "    out[threadIdx.x] = all[255 - threadIdx.x] + more + and_more;\n"
        "}\n"
    )
    built = cuda.build(both, ARCH)
    usage = built.resource_usage()
    used = [int(number) for number in re.findall(r"Used (\d+) registers", built.log)]
    assert len(used) == 2
    assert usage.registers == max(used) > min(used)
    assert usage.shared == 1024


def test_what_is_no_cubin():
    with pytest.raises(CompilerError, match="cannot be read"):
        read(b"not an ELF file, but as long as the header of one: " + bytes(64), "")
    with pytest.raises(CompilerError, match="cannot be read"):
        read(b"", "")


def test_a_cubin_without_a_kernel(cache):
    nothing = cuda.build(Text("__device__ int nvrar_word;\n"), ARCH)
    with pytest.raises(CompilerError, match="holds no kernel"):
        nothing.resource_usage()


def test_spills_of_nvshmem_are_not_ours():
    log = (
        "ptxas info    : Function properties for nvrar_all_reduce\n"
        "ptxas         .     8 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads\n"
        "ptxas info    : Function properties for _ZN5nvrar6WaiterE\n"
        "ptxas         .     8 bytes stack frame, 1 bytes spill stores, 2 bytes spill loads\n"
        "ptxas info    : Function properties for _Z14nvshmemi_fenceIL13threadgroup_t3EEviPii\n"
        "ptxas         .     8 bytes stack frame, 400 bytes spill stores, 800 bytes spill loads\n"
    )
    assert spills(log) == (13, 22)
