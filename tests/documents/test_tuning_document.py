"""A tuning table as text: what is written reads back as itself."""

from __future__ import annotations

import json

from msgspec.structs import replace

from nvrar_bench.documents.tuning import (
    FORMAT,
    FORMAT_VERSION,
    Choice,
    MadeFor,
    MadeOn,
    TunedMedian,
    TuningDocument,
    encode,
)

CHOICE = Choice(
    "bfloat16", "sum", "symmetric", 131072, "packet", 8, 128, 4096, 4, "halving",
    is_auto=False, measured=TunedMedian(12.5, 12.25, 13.0), auto=TunedMedian(20.0, None, None),
    tried=40, level=3, refused=2, ended_by="alike",
)  # fmt: skip
TABLE = TuningDocument(
    FORMAT, FORMAT_VERSION, "0.1.0", "2026-11-25T12:00:00+00:00", "complete",
    MadeFor("cuda", "sm_90", "nvshmem", 4, 4, False, 1),
    MadeOn("NVIDIA H100", ("a", "b"), "ab" * 32, {"mpi_library": "Open MPI v5.0.11"}, None),
    (CHOICE, replace(CHOICE, size_bytes=262144, is_auto=True, auto=None)),
)  # fmt: skip


def test_what_is_written_reads_back_as_itself() -> None:
    assert TuningDocument.from_json(encode(TABLE).encode(), "t") == TABLE


def test_a_table_of_1_0_means_doubling() -> None:
    value = TABLE.to_json()
    for choice in value["choices"]:
        del choice["exchange"]
    del value["made_on"]["between_machines"]
    older = TuningDocument.from_json({**value, "format_version": "1.0"}, "t")
    assert (older.format_version, older.made_on) == (FORMAT_VERSION, TABLE.made_on)
    assert [choice.exchange for choice in older.choices] == ["doubling"] * 2
    assert [replace(choice, exchange="halving") for choice in older.choices] == list(TABLE.choices)


def test_the_text_has_one_line_per_choice() -> None:
    lines = encode(TABLE).splitlines()
    assert lines[1:3] == [
        ' "format": "nvrar-bench.tuning",',
        f' "format_version": "{FORMAT_VERSION}",',
    ]
    assert [line for line in lines if '"size_bytes": 131072' in line] == [
        "  " + json.dumps(TABLE.to_json()["choices"][0]) + ","
    ]
