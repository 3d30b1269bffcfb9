"""Kernels for GPUs, without one: what the compiler makes of them, the cache, and what can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from gpu_sources import ARCH, TINY, Text

from nvrar_bench.errors import CompilerError, UsageError
from nvrar_bench.toolchain import cuda, nvrtc, wheels
from nvrar_bench.toolchain.kernel import Kernel, kernels_dir, sources_digest

PACKET = Kernel("float32", "sum", "packet", "loopback", 256)
REFUSED = Text("int no semicolon\n", "refused")


@pytest.fixture(autouse=True)
def _wheels_looked_up_anew() -> Iterator[None]:
    yield
    cuda._wheels.cache_clear()
    cuda._nvshmem.cache_clear()


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of kernels/ that is used in its place."""
    copy = tmp_path / "kernels"
    shutil.copytree(kernels_dir(), copy)
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(copy))
    return copy


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What a compiler that only notes its calls was asked: source and options."""
    calls: list[tuple[str, list[str]]] = []

    def compile_source(source: str, _: str, options: list[str]) -> nvrtc.Compiled:
        calls.append((source, options))
        return nvrtc.Compiled(b"cubin", "log")

    monkeypatch.setattr(nvrtc, "compile_source", compile_source)
    return calls


# ---- packets -----------------------------------------------------------------------------------


WHOLE = ("b64", "u64", "s64", "v2.b64", "v2.u64")


@pytest.fixture
def ptx(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """`ptx()`: what NVRTC makes of the kernel of packets on the way to machine code."""
    fetched, kinds = nvrtc._fetched, {"CUBIN": "PTX"}

    def fetch(module: ModuleType, what: str, program: object) -> bytes:
        return fetched(module, kinds.get(what, what), program)

    monkeypatch.setattr(nvrtc, "_fetched", fetch)
    return lambda: cuda._compiled(PACKET, ARCH).binary.rstrip(b"\0").decode()


def _broken_cells(ptx: str) -> list[str]:
    """What is wrong with how `ptx` reads and writes packets, if anything.

    PTX's memory model takes an element of a vector for an access of its own.
    """
    at_system_scope = re.findall(r"\b(ld|st)\.relaxed\.sys(?:\.global)?\.(\S+)", ptx)
    wrong = [f"{what}.{kind}" for what, kind in at_system_scope if kind not in WHOLE]
    pairs = [what for what, kind in at_system_scope if kind == "v2.u64"]
    return wrong + [f"no {what}" for what in ("ld", "st") if what not in pairs]


# Each would lose data or never see it: what takes the place of what in platform/gpu.cuh.
BROKEN_CELLS = {
    "written without order": ("st.relaxed.sys.global.v2.u64", "st.global.v2.u64"),
    "read without order": ("ld.relaxed.sys.global.v2.u64", "ld.global.v2.u64"),
    "written for one GPU": ("st.relaxed.sys.global.v2.u64", "st.relaxed.gpu.global.v2.u64"),
    "read on one GPU": ("ld.relaxed.sys.global.v2.u64", "ld.relaxed.gpu.global.v2.u64"),
}


_QUARTER = "cuda::atomic_ref<unsigned, cuda::thread_scope_system>"
IN_QUARTERS = {
    "ld": f"for (int c = 0; c < 4; ++c) reinterpret_cast<unsigned*>(seen)[c] = {_QUARTER}("
    "const_cast<unsigned&>(reinterpret_cast<const unsigned*>(cells)[c]))"
    ".load(cuda::memory_order_relaxed);",
    "st": f"for (int c = 0; c < 4; ++c) {_QUARTER}(reinterpret_cast<unsigned*>(cells)[c])"
    ".store(reinterpret_cast<const unsigned*>(packets)[c], cuda::memory_order_relaxed);",
}


def test_a_packet_is_one_access_of_64_bits_that_all_gpus_see(ptx):
    assert _broken_cells(ptx()) == []


@pytest.mark.parametrize(("whole", "broken"), BROKEN_CELLS.values(), ids=BROKEN_CELLS.keys())
def test_broken_packets_are_noticed(whole, broken, sources, ptx):
    header = sources / "platform" / "gpu.cuh"
    text = header.read_text()
    assert text.count(whole) == 1
    header.write_text(text.replace(whole, broken))
    assert _broken_cells(ptx()) != []


@pytest.mark.parametrize("what", IN_QUARTERS)
def test_packets_in_pieces_are_noticed(what, sources, ptx):
    header = sources / "platform" / "gpu.cuh"
    whole = rf'asm volatile\("{what}\.relaxed\.sys.*?\);'
    text, replaced = re.subn(whole, IN_QUARTERS[what], header.read_text(), flags=re.DOTALL)
    assert replaced == 1
    header.write_text(text)
    assert _broken_cells(ptx()) != []


# ---- the cache ---------------------------------------------------------------------------------


def test_an_entry_explains_itself(cache):
    built = cuda.build(TINY, ARCH)
    assert not built.cached
    folder = built.cubin.parent
    assert (folder / "kernel.cu").read_text() == TINY.source
    assert f"--gpu-architecture={ARCH}" in (folder / "options.txt").read_text()
    assert "ptxas info" in built.log
    assert built.cubin.read_bytes()[:4] == b"\x7fELF"


def test_what_is_there_is_not_built_again(cache, compilations):
    first, second = cuda.build(TINY, ARCH), cuda.build(TINY, ARCH)
    assert (first.cached, second.cached) == (False, True)
    assert first.cubin == second.cubin
    assert len(compilations) == 1


def test_whatever_matters_makes_another_entry(cache, compilations, sources, monkeypatch):
    def path() -> Path:
        return cuda.build(TINY, ARCH).cubin

    paths = [path(), cuda.build(TINY, "sm_80").cubin]
    paths.append(cuda.build(Text(TINY.source + "\n", "tiny"), ARCH).cubin)
    (sources / "packet.cuh").write_text("// another\n")
    sources_digest.cache_clear()
    paths.append(path())
    found = wheels.find()
    newer = wheels.Wheels(
        found.release, {**found.versions, "nvidia-cuda-nvrtc": "13.9"}, found.include_dirs
    )
    monkeypatch.setattr(cuda, "_wheels", lambda: newer)
    paths.append(path())
    monkeypatch.undo()
    assert len(set(paths)) == len(paths) == len(compilations)


_WARM = """
import sys
from gpu_sources import TINY
from nvrar_bench.toolchain import cuda
built = cuda.build(TINY, "sm_90")
built.resource_usage()
print(built.cached, "cuda.bindings.nvrtc" in sys.modules, "mpi4py" in sys.modules)
"""


def test_a_warm_build_loads_no_compiler(cache, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    cuda.build(TINY, ARCH)
    done = subprocess.run([sys.executable, "-c", _WARM], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True False False\n", "")


_TOGETHER = """
import sys
from gpu_sources import TINY
from nvrar_bench.toolchain import cuda
sys.stdin.readline()
print(cuda.build(TINY, "sm_90").cubin)
"""


def test_several_processes_build_at_once(cache, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _TOGETHER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    paths = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(set(paths)) == 1
    assert [path.name for path in cache.iterdir()] == [Path(paths[0].strip()).parent.name]


def test_a_log_that_was_taken_away(cache, compilations):
    built = cuda.build(TINY, ARCH)
    (built.cubin.parent / "compiler.log").unlink()
    with pytest.raises(CompilerError, match=r"compiler\.log: No such file .*; remove "):
        built.resource_usage()


def test_what_kernels_call_is_built_once_and_linked_to_each(cache, tmp_path, monkeypatch):
    """A fabric may keep NVSHMEM's headers, which are slow, out of its kernels."""
    (tmp_path / "fabric").mkdir()
    declared = 'extern "C" __device__ int called(int x);\n'
    (tmp_path / "fabric" / "nvshmem_any.cuh").write_text(declared)
    (tmp_path / "fabric" / "nvshmem_calls.cuh").write_text(
        'extern "C" __device__ int called(int x) { return x + 1; }\n'
    )
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path))
    include = '#include "fabric/nvshmem_any.cuh"\n'
    kernel = 'extern "C" __global__ void nvrar_all_reduce(int* x) { *x = called(*x) * %d; }\n'
    built = [cuda.build(Text(include + kernel % i, f"times-{i}"), ARCH) for i in (2, 3)]
    assert all(one.resource_usage().registers > 0 for one in built)
    names = sorted(path.name.split(f"-{ARCH}")[0] for path in cache.iterdir())
    assert names == ["nvshmem-calls", "times-2", "times-3"]


# ---- what can fail -----------------------------------------------------------------------------


def test_a_refused_kernel_leaves_nothing(cache):
    with pytest.raises(CompilerError) as caught:
        cuda.build(REFUSED, ARCH)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the compiler refused kernel refused for sm_90:"
    assert "error" in lines[1]
    assert "refused.cu(1)" in lines[1]
    assert list(cache.iterdir()) == []


def test_a_kernel_that_calls_what_is_not_there(cache, tmp_path, monkeypatch):
    (tmp_path / "fabric").mkdir()
    (tmp_path / "fabric" / "nvshmem_less.cuh").write_text('extern "C" __device__ void gone();\n')
    monkeypatch.setenv("NVRAR_BENCH_KERNELS", str(tmp_path))
    kernel = Text(
        '#include "fabric/nvshmem_less.cuh"\n'
        'extern "C" __global__ void nvrar_all_reduce() { gone(); }\n'
    )
    with pytest.raises(CompilerError) as caught:
        cuda.build(kernel, ARCH)
    assert str(caught.value).startswith("the linker refused kernel text for sm_90:\n")
    assert "gone" in str(caught.value)


@pytest.mark.parametrize("arch", ["sm_13", "sm_90 ", "", "compute_90", "90"])
def test_an_architecture_that_the_compiler_does_not_know(arch, cache):
    with pytest.raises(UsageError) as caught:
        cuda.build(TINY, arch)
    allowed = ", ".join(nvrtc.architectures())
    assert str(caught.value) == f"--arch {arch}: allowed: {allowed}"
    assert {"sm_80", "sm_90"} <= set(nvrtc.architectures())


def test_a_library_that_does_not_load(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", None)
    with pytest.raises(CompilerError, match=r"nvrtc cannot be loaded .*pip install 'nvrar-bench\["):
        nvrtc.architectures()


def test_an_empty_log_does_not_change_what_python_shares():
    """The binding writes into bytes; those of length 1 are one object for all of Python."""
    nvrtc.compile_source(TINY.source, "tiny.cu", [f"--gpu-architecture={ARCH}"])
    assert bytes([32]) == b"\x20"
    assert "".join(chr(c) for c in bytes([32, 0])) == " \x00"
