"""The structs of kernels/ and their twins: code in which they differ does not compile."""

from __future__ import annotations

import ctypes

import pytest
from gpu_sources import ARCH, Text

from nvrar_bench.errors import CompilerError
from nvrar_bench.toolchain import cuda, host, structs
from nvrar_bench.toolchain.kernel import START_GATE, Elements, Kernel

TWINS = {name: one for name, one in vars(structs).items() if name[0] == "C" and name[1:2].isupper()}
SOURCES = (
    Kernel("float32", "sum", "signal", "loopback"),
    Kernel("float32", "sum", "signal", "hosts"),
    START_GATE,
    Elements("float32"),
)


def test_every_struct_is_checked_where_its_code_is_built():
    checked = "".join(source.source for source in SOURCES)
    for name, twin in TWINS.items():
        assert structs.layout_checks(twin) in checked, name
        assert structs.layout_checks(twin).count("static_assert") == 1 + len(twin._fields_)


def swapped(twin):
    """The twin with its last two fields in the wrong order."""
    *first, one, other = twin._fields_
    return type(twin.__name__, (ctypes.Structure,), {"_fields_": [*first, other, one]})


def longer(twin):
    fields = [*twin._fields_, ("more", structs.U64)]
    return type(twin.__name__, (ctypes.Structure,), {"_fields_": fields})


def twisted(name, change, header):
    """Code that takes a struct, with the checks of a twin that differs."""
    include = f'#include "fabric/loopback.cuh"\n#include "{header}.cuh"\n'
    return Text(include + structs.layout_checks(change(TWINS[name])), f"twisted-{name}")


@pytest.mark.parametrize("change", [swapped, longer])
@pytest.mark.parametrize(
    ("name", "header"),
    [("CArguments", "all_reduce"), ("CGate", "fabric/host_gate"), ("CFormula", "problem")],
)
def test_a_compiler_of_cpus_refuses_a_twin_that_differs(kernel_cache, name, header, change):
    with pytest.raises(CompilerError, match=f"struct {name[1:]} differs from its twin"):
        host.build(twisted(name, change, header))


@pytest.mark.parametrize("change", [swapped, longer])
def test_a_compiler_of_gpus_refuses_a_twin_that_differs(kernel_cache, change):
    with pytest.raises(CompilerError, match="struct Step differs"):
        cuda.build(twisted("CStep", change, "all_reduce"), ARCH)
    cuda.build(twisted("CStep", lambda twin: twin, "all_reduce"), ARCH)
