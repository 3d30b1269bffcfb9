"""The file is valid at every moment, and every reason why it cannot be written is told early."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from threading import Thread

import pytest
from msgspec.structs import replace

from nvrar_bench.documents.files import require_writable
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.run_file import Writer, encode
from nvrar_bench.errors import NvrarBenchError, UsageError

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
