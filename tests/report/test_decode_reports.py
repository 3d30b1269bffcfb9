"""Reports of decode steps, to the letter."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree.ElementTree import fromstring

from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.console import Console

from nvrar_bench.documents.decode import DecodeRecord, Figure
from nvrar_bench.report import csv_rows, decode, openmetrics, page
from nvrar_bench.statistics.decode import replay

from .golden_files import matches

RECORD = Path(__file__).parents[1] / "documents" / "golden" / "decode.json"


def decode_record() -> DecodeRecord:
    """Two batches of two backends: one plain, and one lost in noise, wrong, with a warning."""
    return DecodeRecord.from_json(RECORD.read_bytes())


def test_the_figures_of_the_record_are_those_of_its_samples():
    assert replay(decode_record()) == decode_record()


def written(record, width: int | None = None) -> str:
    file = io.StringIO()
    decode.write(record, Console(file=file, width=width, force_terminal=width is not None,
                                 color_system=None))  # fmt: skip
    return file.getvalue()


def test_the_table_in_a_file_has_100_columns():
    text = written(decode_record())
    assert matches("decode.piped.txt", text)
    assert max(map(len, text.splitlines())) <= 100


def test_a_part_that_is_below_0_is_doubted_also_without_an_interval():
    record = decode_record()
    first = record.results[0]
    (mpi, nvrar) = first.steps
    mpi = replace(mpi, all_reduce_us=Figure(-9.5, None, None))
    text = written(replace(record, results=(replace(first, steps=(mpi, nvrar)),)))
    assert "note: comm of mpi at batch 1 is within the noise" in text


def test_on_a_narrow_terminal_backends_stand_below_each_other():
    text = written(decode_record(), 70)
    assert matches("decode.narrow.txt", text)


def test_csv_has_a_row_per_batch_and_backend():
    text = csv_rows.encode([decode_record()])
    assert matches("decode.csv", text)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["batch"], row["backend"]) for row in rows] == [
        ("1", "mpi"), ("1", "nvrar"), ("64", "mpi"), ("64", "nvrar")
    ]  # fmt: skip


def test_samples_as_csv_have_those_without_all_reduces():
    rows = list(csv.DictReader(io.StringIO(csv_rows.encode_samples([decode_record()]))))
    assert len(rows) == 2 * 3 * 21
    assert {row["backend"] for row in rows} == {"mpi", "nvrar", "work"}
    assert [row["index"] for row in rows if row["late"] == "true"] == ["20"] * 6


def test_metrics_can_be_read():
    text = openmetrics.encode([decode_record()])
    assert matches("decode.prom", text)
    found = {
        (s.name, s.labels.get("batch"), s.labels.get("backend")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert found["nvrar_bench_decode_step_median_seconds", "1", "nvrar"] == 0.0012
    assert found["nvrar_bench_decode_speed_up_ratio", "1", "nvrar"] == 1.25
    assert found["nvrar_bench_decode_wrong_elements", "64", "nvrar"] == 7
    assert found["nvrar_bench_run_wrong_results", None, None] == 1


def test_the_page_draws_a_bar_for_each_step():
    """A bar has the height of its step; the pale part that of the work."""
    text = page.encode([decode_record()])
    svg = fromstring(re.search(r"<svg[^>]*class=\"chart\".*?</svg>", text, re.DOTALL)[0])
    bars = svg.findall("g")
    heights = [[float(re.search(r"v-([\d.]+)", path.get("d"))[1]) for path in bar.findall("path")]
               for bar in bars]  # fmt: skip
    assert len(bars) == 4
    pale, full = heights[2]
    assert abs((pale + full) / pale - 150 / 147) < 0.01
    assert "mpi allreduce, batch 64: 150.0 ms" in bars[2].find("title").text
    assert text.count("7 of 2048 elements") == 1
    assert "late: 6 of 84" not in text
    assert "late: 4 of 84 samples" in text


def test_a_run_that_died_at_once_has_a_report():
    record = replace(decode_record(), results=())
    assert "# no results" in written(record)
    assert "no results" in page.encode([record])
    assert openmetrics.encode([record]).endswith("# EOF\n")
    assert csv_rows.encode([record]).count("\n") == 1
