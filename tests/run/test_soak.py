"""A soak: what it draws, what it finds, when it ends."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.errors import WrongResult
from nvrar_bench.run.soak import SPELL, Soak
from nvrar_bench.settings.soak import SoakLimit, longest_counts, soak_plan


class Copying:
    """A backend for one rank; `spoil` sees every case and may damage the result."""

    name = "copying"

    def __init__(self, spoil=lambda number, recv: None) -> None:
        self.cases, self.spoil = [], spoil

    def unsupported(self, case):
        return "no products" if case.op == "prod" else None

    def prepare(self, case, send, recv):
        self.cases.append(case)
        self.send, self.recv = send, recv
        return self

    variant = "copy"

    def launch(self) -> None:
        self.recv[:] = self.send
        self.spoil(len(self.cases), self.recv)

    def confirm(self) -> None: ...

    def close(self) -> None: ...


def nothing(needs, dtypes) -> None:
    """There is nothing to build."""


def soak(alone, *backends, seed: int = 1, limit: SoakLimit, build=nothing) -> tuple[dict, list]:
    heard = []
    one = Soak(CpuDevice(alone, 5.0), backends, seed, lambda: None, build)
    one.run(limit, heard.append)
    one.release()
    return one.facts(), heard


def test_it_ends_after_so_many_calls_all_of_them_different(alone):
    backend = Copying()
    facts, heard = soak(alone, backend, limit=SoakLimit(calls=3 * SPELL + 7))
    assert facts["calls"] == len(backend.cases) == 3 * SPELL + 7
    assert facts["calls_by_backend"] == {"copying": facts["calls"]}
    assert [one["calls"] for one in heard][-1] == facts["calls"]
    assert {case.placement for case in backend.cases} == {"in_place", "out_of_place"}
    assert {case.buffers for case in backend.cases} == {"symmetric", "private"}
    assert {case.protocol for case in backend.cases} == {"auto", "signal", "packet"}
    assert len({case.count for case in backend.cases}) > 100
    assert min(case.count for case in backend.cases) < 10
    assert all(1 <= case.count <= longest_counts()[case.dtype] for case in backend.cases)
    assert "prod" not in {case.op for case in backend.cases}


def test_the_seed_says_what_is_drawn(alone):
    runs = []
    for seed in (5, 5, 6):
        backend = Copying()
        soak(alone, backend, seed=seed, limit=SoakLimit(calls=300))
        runs.append(backend.cases)
    assert runs[0] == runs[1] != runs[2]


def test_it_ends_after_so_many_seconds(alone):
    facts, _ = soak(alone, Copying(), limit=SoakLimit(seconds=0.2))
    assert 0.2 <= facts["seconds"] < 20
    assert facts["calls"] > 0


def test_one_wrong_element_ends_it_and_the_message_says_how_to_see_it_again(alone):
    def spoil(number, recv):
        if number == 130:
            recv[-1] = 1 if recv[-1] != 1 else 2

    with pytest.raises(WrongResult) as caught:
        soak(alone, Copying(spoil), seed=9, limit=SoakLimit(calls=1000))
    message = str(caught.value)
    assert message.startswith("copying (copy) gave a wrong result in call 130 of the soak with ")
    assert "--seed 9" in message
    assert "'index': " in message


def test_what_spells_need_is_built_ahead_more_each_time_and_takes_none_of_the_soaks_time(alone):
    backend, heard = Copying(), []

    def build(needs, dtypes):
        ((whose, cases),) = needs
        assert whose is backend
        heard.append((len(backend.cases), {(case.dtype, case.op) for case in cases}, set(dtypes)))
        time.sleep(0.2)

    limit = SoakLimit(calls=4 * SPELL)
    begun = time.monotonic()
    facts, _ = soak(alone, backend, limit=limit, build=build)
    assert facts["seconds"] < time.monotonic() - begun - 0.5
    calls, kinds, dtypes = zip(*heard, strict=True)
    assert len(kinds) == 3
    assert calls[0] == 0
    assert {(case.dtype, case.op) for case in backend.cases} == set().union(*kinds)
    assert {case.dtype for case in backend.cases} <= set().union(*dtypes)
    assert all(op != "prod" for of in kinds for _, op in of), "what it cannot do is not built"


def test_nvrar_on_one_rank(alone):
    device = CpuDevice(alone, 5.0)
    backend = NvrarBackend(alone, HostEngine(alone, device), 5.0)

    def build(needs, dtypes):
        backend.foresee(needs[0][1])

    one = Soak(device, [backend], 2, lambda: None, build)
    one.run(SoakLimit(calls=2 * SPELL), lambda _: None)
    assert one.facts()["calls"] == 2 * SPELL


def test_the_plan_holds_the_longest_message_of_both_kinds():
    assert {case.buffers for case in soak_plan()} == {"symmetric", "private"}
    assert max(case.size_bytes for case in soak_plan()) == 4 * longest_counts()["float32"]


def test_settings_are_made_before_mpi_is_loaded():
    """Importing mpi4py.MPI starts MPI, which only the guard may do."""
    code = (
        "import sys; from nvrar_bench.settings import planning; print('mpi4py.MPI' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
