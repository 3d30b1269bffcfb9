"""Tables that ship with the package: where `auto` follows one, and where it does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from documents.test_tuning_document import CHOICE, TABLE
from msgspec.structs import replace
from test_chooser import CHOOSER, LIMITS, a_case, a_row, a_table

from nvrar_bench.backends.nvrar import chooser
from nvrar_bench.backends.nvrar.backend import NvrarBackend
from nvrar_bench.backends.nvrar.chooser import NOTHING_NEAR
from nvrar_bench.backends.nvrar.cpu import HostEngine
from nvrar_bench.backends.nvrar.limits import gpu_limits
from nvrar_bench.backends.nvrar.tuning import AUTOMATIC, Tuning
from nvrar_bench.devices.cpu import CpuDevice
from nvrar_bench.devices.operation import Shape
from nvrar_bench.documents.files import encode_lines, parse_json
from nvrar_bench.documents.tuning import MadeFor, TuningDocument

K = 1 << 10
EIGHT = MadeFor("cuda", "sm_90", "loopback", 2, 4, True, 8)
TWO = MadeFor("cuda", "sm_90", "loopback", 1, 2, True, 2)


def a_choice(size: int, blocks: int, threads: int = 256, **changes):
    return replace(
        CHOICE, dtype="float32", size_bytes=size, protocol="signal", blocks=blocks,
        threads=threads, chunk_bytes=4096, radix=2, exchange="doubling", **changes,
    )  # fmt: skip


@pytest.fixture
def ship(monkeypatch, tmp_path):
    """`ship(table, ...)`: a package with these tables, made on 16 multiprocessors for a rank."""
    monkeypatch.setattr(chooser, "FOLDER", tmp_path)

    def write(*tables: TuningDocument) -> None:
        (arch,) = {one.made_for.arch for one in tables}
        rows = [{"multiprocessors": 16, "table": one.to_json()} for one in tables]
        content = {"made_by": "a test", "tables": rows}
        (tmp_path / f"{arch}.table").write_text(encode_lines(content, "the table"))

    return write


def test_the_table_of_these_ranks_and_this_fabric_is_found(ship):
    ship(
        replace(TABLE, made_for=TWO, choices=(a_choice(128 * K, 8),)),
        replace(TABLE, made_for=EIGHT, choices=(a_choice(128 * K, 16),)),
    )
    table = chooser.shipped_table(EIGHT, LIMITS)
    assert [row.shape.blocks for row in table.rows] == [16]
    assert (table.path, table.made_on.processor) == ("sm_90.table", "NVIDIA H100")
    for elsewhere in (
        replace(EIGHT, arch="sm_100"), replace(EIGHT, nodes=4), replace(EIGHT, fabric="nvshmem"),
    ):  # fmt: skip
        assert chooser.shipped_table(elsewhere, LIMITS) is None


def test_launches_that_a_smaller_gpu_cannot_run_are_left_out(ship):
    small = gpu_limits(8, "loopback", "sm_90")
    large = a_choice(512 * K, 32)
    ship(replace(TABLE, made_for=EIGHT, choices=(a_choice(128 * K, 8), large)))
    assert [row.size_bytes for row in chooser.shipped_table(EIGHT, small).rows] == [128 * K]
    ship(replace(TABLE, made_for=EIGHT, choices=(large,)))
    assert chooser.shipped_table(EIGHT, small) is None


@pytest.mark.parametrize(
    ("multiprocessors", "kept"),
    [(16, [8, 16, 32]), (14, [8]), (15, [8]), (32, [8, 16]), (20, [8, 16, 32])],
)
def test_launches_that_would_run_in_another_class_than_measured_are_left_out(
    ship, multiprocessors, kept
):
    """16 blocks of 256 threads fit side by side on 16 multiprocessors, and not on 15."""
    choices = [a_choice(size * K, blocks) for size, blocks in ((128, 8), (256, 16), (512, 32))]
    ship(replace(TABLE, made_for=EIGHT, choices=tuple(choices)))
    here = gpu_limits(multiprocessors, "loopback", "sm_90")
    rows = chooser.shipped_table(EIGHT, here).rows
    assert [row.shape.blocks for row in rows] == kept


SHAPE = Shape("signal", 4, 128, 2048, 2, "doubling")
FOLLOWER = dataclasses.replace(CHOOSER, shipped=a_table(a_row(128 * K, shape=SHAPE)))


def test_auto_follows_it_where_the_launch_is_open():
    case = a_case(100 * K)
    chosen = FOLLOWER.choose(AUTOMATIC, case)
    assert CHOOSER.choose(AUTOMATIC, case).shape != SHAPE
    assert (chosen.shape, chosen.tuned_at, chosen.warnings) == (SHAPE, 128 * K, ())
    assert FOLLOWER.choose(AUTOMATIC, a_case(128 * K, protocol="signal")).shape == SHAPE


@pytest.mark.parametrize(
    ("tuning", "case"),
    [
        (Tuning(blocks=2), a_case(128 * K)),
        (Tuning(threads=64), a_case(128 * K)),
        (Tuning(chunk_bytes=1024), a_case(128 * K)),
        (AUTOMATIC, a_case(128 * K, protocol="packet")),
        (AUTOMATIC, a_case(1024 * K)),
        (AUTOMATIC, a_case(128 * K, dtype="bfloat16")),
        (Tuning(table=a_table(a_row(64 * K))), a_case(64 * K)),
    ],
)
def test_elsewhere_launches_are_as_if_none_shipped(tuning, case):
    assert FOLLOWER.choose(tuning, case) == CHOOSER.choose(tuning, case)


def test_a_users_table_that_has_nothing_near_leaves_it_to_the_one_that_ships():
    tuning = Tuning(table=a_table(a_row(4 * K)))
    chosen = FOLLOWER.choose(tuning, a_case(128 * K))
    assert (chosen.shape, chosen.tuned_at, chosen.warnings) == (SHAPE, 128 * K, (NOTHING_NEAR,))


def test_a_run_follows_it_and_its_record_says_so(ship, alone):
    def opened() -> NvrarBackend:
        return NvrarBackend(alone, HostEngine(alone, CpuDevice(alone, 5.0)), 5.0)

    plain = opened()
    assert "nvrar_table" not in plain.facts()
    choice = a_choice(4 * K, blocks=1, threads=1)
    choice = replace(choice, protocol="packet")
    ship(replace(TABLE, made_for=plain.made_for, choices=(choice,)))
    backend = opened()
    assert backend.facts()["nvrar_table"] == f"{plain.made_for.arch}.table, of NVIDIA H100"
    buffer = np.zeros(K, np.float32)
    case = a_case(4 * K)
    assert plain.prepare(case, buffer, buffer).variant == "signal"
    operation = backend.prepare(case, buffer, buffer)
    assert (operation.variant, operation.tuned_at, operation.warnings) == ("packet", 4 * K, ())
    for one in (plain, backend):
        one.close()


@pytest.mark.parametrize("path", sorted(chooser.FOLDER.glob("*.table")), ids=str)
@pytest.mark.parametrize("sms", [132, 114])
def test_what_ships_runs_as_on_the_h200_that_it_was_made_on(path, sms):
    """All of it with as many multiprocessors; with fewer, what is left of it."""
    for one in parse_json(path.read_bytes())["tables"]:
        made_for = TuningDocument.from_json(one["table"], str(path)).made_for
        ranks = made_for.nodes * made_for.ranks_per_node
        assert (made_for.arch, one["multiprocessors"]) == (path.stem, 132 // ranks)
        there, here = (gpu_limits(n // ranks, made_for.fabric, path.stem) for n in (132, sms))
        table = chooser.shipped_table(made_for, here)
        shapes = [row.shape for row in table.rows] if table else []
        assert len(shapes) == len(one["table"]["choices"]) or sms < 132
        for shape in shapes:
            launch = shape.protocol, shape.blocks, shape.threads
            assert here.launch_class(*launch) == there.launch_class(*launch)
