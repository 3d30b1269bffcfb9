"""What is said of a thing that was looked for."""

from __future__ import annotations

import ctypes
import ctypes.util
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from nvrar_bench import inventory
from nvrar_bench.backends import NAMES as BACKENDS
from nvrar_bench.backends import registry
from nvrar_bench.devices import NAMES as DEVICES
from nvrar_bench.devices.cuda import driver
from nvrar_bench.documents.inventory import Ability, Inventory
from nvrar_bench.errors import CompilerError, Problem, Unavailable
from nvrar_bench.inventory import Finding, Probe, Question, installed, loaded, parts, require, wheel
from nvrar_bench.inventory.survey import QUESTIONS, STEPS
from nvrar_bench.launch import initialize
from nvrar_bench.toolchain import host


def test_parts_are_one_line_each():
    assert parts(Problem("two\nlines", "a  fix")) == ("two lines", "a fix")
    assert parts("no fix") == ("no fix", None)
    assert parts(None) == (None, None)


def test_a_wheel_by_its_name():
    assert wheel("numpy", "pip install it").version == installed("numpy")
    absent = wheel("no-such-wheel", "pip install it")
    assert (absent.status, absent.problem) == ("missing", "not installed: pip install it")


def test_the_path_of_a_library_that_is_loaded(tmp_path, monkeypatch):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00 r-xp 00000000 00:00 0 /usr/lib/libmpi.so.40.30\n"
        "7f01 r-xp 00000000 00:00 0 /usr/lib/notlibmpi.so\n"
        "7f02 r-xp 00000000 00:00 0 /x/MPI.cpython-311.so\n"
        "7f03 rw-p 00000000 00:00 0 [heap]\n"
    )
    monkeypatch.setattr(inventory, "_MAPS", maps)
    assert loaded("libmpi") == "/usr/lib/libmpi.so.40.30"
    assert loaded("libmpich") is None


def test_a_library_of_this_process_is_found():
    ctypes.CDLL(ctypes.util.find_library("m"))
    assert "/libm" in (loaded("libm") or "")


def test_a_row_has_the_name_of_what_was_found():
    named, plain = Probe("g", "things", ("cpu",), lambda: [Finding(name="x"), Finding()]).take()
    assert (named.name, plain.name, named.group) == ("x", "things", "g")


@pytest.fixture(autouse=True)
def _mpi(monkeypatch):
    monkeypatch.setattr(initialize, "load_mpi", lambda: None)


def asked(device: str, backend: str | None = None) -> Ability:
    question = next(q for q in QUESTIONS if (q.device, q.backend) == (device, backend))
    (ability,) = question.take()
    return ability


def test_every_device_and_every_backend_on_it_is_asked_for():
    pairs = {(question.device, question.backend) for question in QUESTIONS}
    assert pairs == {(d, b) for d in DEVICES if d != "auto" for b in (None, *BACKENDS)}
    assert STEPS[-len(QUESTIONS) :] == QUESTIONS


def test_the_cpu_of_this_machine_can_run():
    assert asked("cpu").can_run
    assert asked("cpu", "nvrar").can_run


def test_the_cpu_needs_an_mpi_library(monkeypatch):
    def none():
        raise Unavailable(Problem("no MPI", "install it"))

    monkeypatch.setattr(initialize, "load_mpi", none)
    assert asked("cpu") == Ability.of("cpu", None, "no MPI", "install it")
    assert asked("cuda") == Ability.of("cuda", None, "no MPI", "install it")


def test_the_cpu_needs_a_compiler_that_compiles(monkeypatch):
    def refuse(kernel):
        raise CompilerError("the compiler refused kernel start-gate-host: c++ -x\nno such header")

    monkeypatch.setattr(host, "build", refuse)
    assert asked("cpu").reason.endswith("start-gate-host: c++ -x no such header")


def test_cuda_is_what_the_driver_says_and_the_gate_is_built_for_each_kind_of_gpu(monkeypatch):
    monkeypatch.setattr(driver, "missing", lambda: Problem("no driver", "install it"))
    assert asked("cuda") == Ability.of("cuda", None, "no driver", "install it")
    built = []
    arches = ["sm_90", "sm_90", "sm_80"]
    calls = SimpleNamespace(cuDeviceGetCount=lambda: len(arches))
    monkeypatch.setattr(driver, "missing", lambda: None)
    monkeypatch.setattr(driver, "load_calls", lambda: calls)
    monkeypatch.setattr(driver, "describe", lambda _, n: SimpleNamespace(arch=arches[n]))
    monkeypatch.setattr("nvrar_bench.toolchain.cuda.build", lambda _, arch: built.append(arch))
    assert asked("cuda").can_run
    assert built == ["sm_80", "sm_90"]


def test_backends_are_what_the_registry_says(monkeypatch):
    entry = registry.Entry(lambda device: f"not on {device}", None, None)
    monkeypatch.setitem(registry.BACKENDS, "nccl", entry)
    assert asked("cuda", "nccl").reason == "not on cuda"
    assert asked("cpu", "nccl").reason == "not on cpu"


def test_whatever_is_raised_stands_against_it():
    def broken():
        raise RuntimeError("undefined symbol")

    assert Question("cuda", "nvrar", broken).take() == [
        Ability.of("cuda", "nvrar", "RuntimeError: undefined symbol", None)
    ]


def test_names():
    assert [question.name for question in QUESTIONS][:2] == ["cpu", f"{BACKENDS[0]} on cpu"]


CPU = (Ability.of("cpu", None, None, None), Ability.of("cpu", "nccl", "needs cuda", "get one"))
CUDA = (Ability.of("cuda", None, None, None), Ability.of("cuda", "nccl", None, None))
NO_CUDA = (Ability.of("cuda", None, "no driver", "install it"), CUDA[1])
BOTH = Inventory.of("1", "here", "now", (), {}, (*CPU, *CUDA))
ONE = replace(BOTH, abilities=(*CPU, *NO_CUDA))


@pytest.mark.parametrize(
    ("inventory", "device", "backends"),
    [
        (BOTH, "auto", ()), (BOTH, "cuda", ("nccl",)), (BOTH, "auto", ("nccl",)),
        (BOTH, "cpu", ()), (ONE, "auto", ()), (ONE, "cpu", ()),
    ],
)  # fmt: skip
def test_what_can_run_is_not_refused(inventory, device, backends):
    require(inventory, device, backends)


@pytest.mark.parametrize(
    ("device", "backends", "message"),
    [
        (
            "cuda", (),
            "--device cuda is not available: no driver: install it; or measure CPU ranks: "
            "--device cpu",
        ),
        ("auto", ("nccl",), "--backend nccl is not available: needs cuda: get one"),
        ("cpu", ("nccl",), "--backend nccl is not available: needs cuda: get one"),
    ],
)  # fmt: skip
def test_what_cannot_is(device, backends, message):
    with pytest.raises(Unavailable) as caught:
        require(ONE, device, backends)
    assert str(caught.value) == message


def test_a_device_asked_for_comes_before_the_backends_on_it():
    with pytest.raises(Unavailable, match=r"^--device cuda"):
        require(ONE, "cuda", ("nccl",))
