"""The file is valid at every moment, and every reason why it cannot be written is told early."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from msgspec.structs import replace

from nvrar_bench.documents import run_file
from nvrar_bench.documents.files import require_writable
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import Journal, Writer, encode, read_record
from nvrar_bench.errors import (
    Interrupted,
    LostRank,
    NvrarBenchError,
    TimedOut,
    UsageError,
    WrongResult,
)

from .samples import RESULT, begin, full


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refusal(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        require_writable(path, "--json")
    message = str(caught.value)
    assert message.startswith(f"--json {str(path)!r} cannot be written: ")
    assert message.endswith("allowed: a file in an existing folder that you may write to, or -")
    return message


def test_what_is_written_is_the_record(tmp_path: Path) -> None:
    record, path = full(), tmp_path / "run.json"
    Writer(path).write(record)
    assert RunRecord.from_json(path.read_bytes()) == record
    assert names(tmp_path) == ["run.json"]


def test_every_result_has_a_line_of_its_own() -> None:
    text = encode(full())
    assert text.endswith("}\n")
    assert sum('"latency_us"' in line for line in text.splitlines()) == 2
    assert sum('"first_wrong"' in line for line in text.splitlines()) == 2


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("something old")
    writer = Writer(path)
    record = begin()
    for _ in range(3):
        record = record.with_result(RESULT)
        writer.write(record)
        assert RunRecord.from_json(path.read_bytes()) == record
    assert names(tmp_path) == ["run.json"]


def test_a_reader_holding_the_old_file_keeps_a_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    writer, first = Writer(path), begin()
    writer.write(first)
    with path.open("rb") as held:
        writer.write(first.with_result(RESULT))
        assert RunRecord.from_json(held.read()) == first


def test_a_failing_write_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    writer, record = Writer(path), begin()
    writer.write(record)

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(NvrarBenchError, match=r"--json .*run\.json: No space left on device"):
        writer.write(record.with_result(RESULT))
    assert RunRecord.from_json(path.read_bytes()) == record
    assert names(tmp_path) == ["run.json"]


def test_an_interrupt_in_the_middle_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Writer(tmp_path / "run.json").write(begin())
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_a_record_that_is_no_json_keeps_the_old_file(tmp_path: Path, value: object) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    with pytest.raises(NvrarBenchError, match="cannot be written as JSON"):
        Writer(path).write(begin(odd=value))
    assert path.read_text() == "old"


def test_a_record_that_comes_after_the_finished_one_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    writer, record = Writer(path), begin()
    final = record.finished("interrupted")
    writer.write(final)
    writer.write(record.with_result(RESULT))
    assert RunRecord.from_json(path.read_bytes()) == final


def test_a_signal_in_the_middle_of_a_write_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    writer, record, fsync = Writer(path), begin(), os.fsync
    final = record.finished("interrupted")

    def signalled(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        writer.write(final)

    monkeypatch.setattr(os, "fsync", signalled)
    writer.write(record.with_result(RESULT))
    assert RunRecord.from_json(path.read_bytes()) == final
    assert names(tmp_path) == ["run.json"]


def test_threads_that_write_at_once_leave_one_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    writer = Writer(path)
    records = [begin(seed=seed).with_result(RESULT) for seed in range(8)]
    threads = [Thread(target=writer.write, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert RunRecord.from_json(path.read_bytes()) in records
    assert names(tmp_path) == ["run.json"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "run.json"
    link.symlink_to(tmp_path / "there" / "real.json")
    writer = Writer(link)
    writer.write(begin())
    assert link.is_symlink()
    assert RunRecord.from_json((tmp_path / "there" / "real.json").read_bytes())


def test_the_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    Writer(tmp_path / "run.json").write(begin())
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "run.json")}
    assert len(modes) == 1


def test_checking_leaves_the_folder_and_the_file_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    require_writable(path, "--json")
    assert names(tmp_path) == []
    path.write_text("old")
    require_writable(path, "--json")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_a_name_as_long_as_a_name_can_be_is_fine(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    require_writable(path, "--json")
    Writer(path).write(begin())
    assert names(tmp_path) == [path.name]


def test_a_missing_folder_is_told_early(tmp_path: Path) -> None:
    assert "No such file or directory" in refusal(tmp_path / "missing" / "run.json")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "it is a folder" in refusal(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in refusal(tmp_path / "file" / "run.json")


def test_a_device_is_not_replaced_by_a_file() -> None:
    assert "it is not a regular file" in refusal(Path(os.devnull))


def test_a_name_that_is_too_long_is_told_early(tmp_path: Path) -> None:
    assert "File name too long" in refusal(tmp_path / ("n" * 256))


def test_a_zero_byte_is_told_early() -> None:
    assert "embedded null" in refusal(Path("a\0b"))


def test_links_in_a_circle_are_told_early(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refusal(tmp_path / "a")


def test_a_file_system_that_takes_no_files_is_told_early_also_to_root() -> None:
    refusal(Path("/proc/nvrar-bench.json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_permissions_are_told_early(tmp_path: Path) -> None:
    (tmp_path / "run.json").touch(mode=0o444)
    assert "it is read-only" in refusal(tmp_path / "run.json")
    tmp_path.chmod(0o555)
    assert "Permission denied" in refusal(tmp_path / "other.json")


def test_standard_output_gets_one_record_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    writer, record = Writer(Path("-")), begin()
    writer.write(record.with_result(RESULT))
    assert capsys.readouterr().out == ""
    final = record.finished("complete")
    writer.write(final)
    writer.write(replace(final, results=(RESULT,)))
    out = capsys.readouterr().out
    assert RunRecord.from_json(out) == final
    assert json.loads(out)["run"]["status"] == "complete"


def test_no_destination_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    writer = Writer(None)
    writer.write(full())
    assert capsys.readouterr() == ("", "")


UNKNOWN = {"samples": 1, "flag_us": None, "copy_us": None, "work_us": None}
GOLDEN = Path(__file__).parent / "golden" / "record.json"


def changed(tmp_path: Path, **changes: Any) -> Path:
    value = json.loads(GOLDEN.read_text())
    value["results"][1].update(changes)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(value))
    return path


def test_a_record_is_read() -> None:
    assert read_record(GOLDEN).to_json() == json.loads(GOLDEN.read_text())


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOLDEN.read_bytes())))
    assert read_record(Path("-")) == read_record(GOLDEN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"samples": 4}, "samples is 4; there are 3 in samples_us"),
        ({"launch_samples": [3, 1]}, "launch_samples add up to 4; there are 3 samples"),
        ({"launch_samples": []}, "launch_samples add up to 0; there are 3 samples"),
        ({"late": [3]}, "late holds 3; allowed: 0 to 2"),
        (
            {"launch_samples": [1, 2]},
            "stretches end at samples [3]; launches at [1, 3]",
        ),
        (
            {"stretches": [UNKNOWN, UNKNOWN]},
            "stretches end at samples [1, 2]; launches at [3]",
        ),
        (
            {"stretches": [UNKNOWN] * 4},
            "stretches end at samples [1, 2, 3, 4]; launches at [3]",
        ),
        (
            {"arrivals": [{"launch": 1, "rank": 0, "median_us": 1.0, "max_us": 1.0}]},
            "arrivals name launch 1; allowed: 0 to 0",
        ),
        ({"samples_us": [1, 2, 1e13]}, "samples_us holds 1e+13; allowed: at most 1e+12"),
    ],
)
def test_samples_that_contradict_themselves(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    path = changed(tmp_path, **changes)
    with pytest.raises(UsageError) as refused:
        read_record(path)
    assert str(refused.value) == f"{path}: results[1].{said}"


def test_no_samples_contradict_nothing(tmp_path: Path) -> None:
    path = changed(tmp_path, samples=0, samples_us=[], launch_samples=[], late=[], stretches=[])
    assert read_record(path).results[1].samples == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [("nosuch.json", "No such file"), (".", "Is a directory"), ("a\0b", "null byte")],
)
def test_a_file_that_cannot_be_read_is_named(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be read.*{said}.*allowed: a run record"):
        read_record(Path(name))


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match=f"^{path}: this is not a nvrar-bench.run record"):
        read_record(path)


class Written(list):
    """A writer that keeps what it is given."""

    write = list.append


@pytest.fixture
def written():
    return Written()


@pytest.fixture
def journal(written, monkeypatch):
    journal = Journal(written)
    journal.clock = 0.0
    monkeypatch.setattr(run_file.time, "monotonic", lambda: journal.clock)
    return journal


@pytest.fixture
def begun(journal, written):
    journal.begin(begin())
    return journal


def test_the_empty_record_is_written_and_says_that_the_run_did_not_finish(begun, written):
    (record,) = written
    assert (record.run.status, record.run.finished_at) == ("interrupted", None)


def test_every_change_is_written(begun, written):
    begun.add(RESULT)
    begun.skip("nccl", "no GPU")
    assert [len(record.results) for record in written] == [0, 1, 1]
    assert [len(record.skipped) for record in written] == [0, 0, 1]
    assert written[-1].results == (RESULT,)


def test_where_results_are_many_they_are_written_once_a_second(begun, written):
    for _ in range(100):
        begun.add(RESULT)
    assert len(written) == 101
    for _ in range(50):
        begun.add(RESULT)
    assert len(written) == 101
    begun.clock = 1.5
    begun.add(RESULT)
    begun.add(RESULT)
    assert [len(record.results) for record in written[101:]] == [151]
    begun.close()
    assert len(written[-1].results) == 152


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "complete"),
        (Interrupted("Ctrl-C"), "interrupted"),
        (WrongResult("wrong"), "failed"),
        (TimedOut("late"), "failed"),
        (LostRank("gone"), "failed"),
        (UsageError("no"), "failed"),
    ],
)
def test_how_it_is_closed(begun, written, error, status):
    begun.close(error)
    run = written[-1].run
    assert run.status == status
    assert run.finished_at is not None
    told = [(entry.type, entry.message) for entry in written[-1].errors]
    assert told == ([(type(error).__name__, str(error))] if error else [])


def test_results_in_the_making_are_written_now_and_then(begun, written):
    parts = [RESULT]
    begun.expect(lambda: parts)
    begun.progressed()
    assert len(written) == 1
    begun.clock = 1.5
    begun.progressed()
    parts.append(RESULT)
    begun.progressed()
    assert [len(record.results) for record in written] == [0, 1]
    begun.skip("nccl", "no GPU")  # any other change shows them too
    assert len(written[-1].results) == 2
    begun.expect()
    begun.add(RESULT)
    assert len(written[-1].results) == 1


def test_a_record_that_takes_long_to_write_is_written_less_often(begun, written):
    def slow() -> list[object]:
        begun.clock += 0.5
        return [RESULT]

    begun.expect(slow)
    begun.clock = 2.0
    begun.progressed()  # written from 2.0 to 2.5
    begun.clock = 12.0
    begun.progressed()
    assert len(written) == 2
    begun.clock = 12.6
    begun.progressed()
    assert len(written) == 3


def test_results_in_the_making_outlive_the_run(begun, written):
    begun.expect(lambda: [RESULT, RESULT])
    begun.close(TimedOut("late"))
    assert (len(written[-1].results), written[-1].run.status) == (2, "failed")
    begun.close()
    assert len(written) == 2


def test_the_first_end_is_the_one_that_counts(begun, written):
    begun.close(WrongResult("first"))
    begun.close(TimedOut("second"))
    begun.close()
    assert len(written) == 2
    assert [entry.message for entry in written[-1].errors] == ["first"]


def test_the_other_ranks_keep_nothing(journal, written):
    journal.add(RESULT)
    journal.skip("nccl", "no GPU")
    journal.close(NvrarBenchError("x"))
    assert (journal.record, written) == (None, [])
