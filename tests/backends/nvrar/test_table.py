"""What a tuning table says of a call, and where it may be used."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace
from test_chooser import HERE, MADE_ON, a_case, a_row, a_table

from nvrar_bench.errors import UsageError

K = 1 << 10


@pytest.mark.parametrize(
    ("size", "tuned"),
    [
        (64 * K, 64 * K), (80 * K, 64 * K), (100 * K, 128 * K), (128 * K, 128 * K),
        (256 * K, 128 * K), (256 * K + 4, None), (32 * K, 64 * K), (32 * K - 4, None),
        (400 * K, None), (512 * K, 1024 * K), (2048 * K, 1024 * K), (4 * K, None),
    ],
)  # fmt: skip
def test_the_nearest_tuned_size_in_log_scale(size, tuned):
    table = a_table(*(a_row(of * K) for of in (1024, 64, 128)))
    row = table.row(a_case(size))
    assert (row and row.size_bytes) == tuned


def test_of_two_equally_near_the_smaller():
    table = a_table(a_row(256), a_row(64))
    assert table.row(a_case(128)).size_bytes == 64


def test_buffers_and_the_width_of_the_type_must_fit():
    table = a_table(a_row(128, "bfloat16", buffers="private"))
    assert table.row(a_case(128, dtype="float16", buffer="private")) is not None
    assert table.row(a_case(128, dtype="float32", buffer="private")) is None
    assert table.row(a_case(128, dtype="bfloat16")) is None


def test_the_same_type_is_preferred_then_the_same_operation():
    rows = [
        a_row(128, "int32", "sum"), a_row(128, "float32", "max"), a_row(128, "float32", "avg"),
        a_row(128, "int32", "min"),
    ]  # fmt: skip

    def found(dtype: str, op: str):
        row = a_table(*rows).row(a_case(128, dtype=dtype, op=op))
        return row.dtype, row.op

    assert found("float32", "avg") == ("float32", "avg")
    assert found("float32", "sum") == ("float32", "max")  # the first of the type
    assert found("uint32", "min") == ("int32", "min")
    assert found("uint32", "prod") == ("int32", "sum")


def test_sizes_of_another_type_do_not_fill_gaps():
    table = a_table(a_row(128, "float32"), a_row(4 * K, "int32"))
    assert table.row(a_case(4 * K)) is None


def test_a_table_of_another_place_is_refused():
    a_table().require_made_for(HERE)
    with pytest.raises(UsageError) as caught:
        a_table().require_made_for(replace(HERE, nodes=2, virtual_nodes=True, arch="sm_80"))
    assert str(caught.value) == (
        "--tuning t.json was made for something else: arch sm_90 there, sm_80 here; nodes 4 there, "
        "2 here; virtual_nodes no there, yes here; allowed: a table that `nvrar-bench tune` makes "
        "here"
    )


@pytest.mark.parametrize("field", HERE.__struct_fields__)
def test_every_fact_must_fit(field):
    other = replace(HERE, **{field: {bool: True, int: 9}.get(type(getattr(HERE, field)), "x")})
    assert len(list(HERE.differences(other))) == 1


def test_another_model_and_other_kernels_are_doubts():
    processor, kernels = MADE_ON.processor, MADE_ON.kernels_sha256
    assert list(a_table().doubts(processor, kernels)) == []
    assert list(a_table().doubts("NVIDIA H200", kernels)) == [
        "tuning: the table was made on NVIDIA H100, this is NVIDIA H200"
    ]
    assert list(a_table().doubts(processor, "def")) == [
        "tuning: the kernels are not those that the table was made with: tune again"
    ]


TCP = "TCP over eth0 10000 Mbit/s"
OVER_TCP = dataclasses.replace(a_table(), made_on=replace(MADE_ON, between_machines=TCP))


@pytest.mark.parametrize("here", [None, TCP, "TCP over ens1 25000 Mbit/s"])
def test_a_table_holds_wherever_messages_go_the_same_way(here):
    OVER_TCP.require_same_path(here)
    a_table().require_same_path(here)


def test_a_table_of_another_path_between_machines_is_refused():
    with pytest.raises(UsageError, match=f"between machines {TCP} there, verbs of mlx5_0 here"):
        OVER_TCP.require_same_path("verbs of mlx5_0")
