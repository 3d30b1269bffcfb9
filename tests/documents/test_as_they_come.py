"""Files as editors, compressors and other versions leave them."""

from __future__ import annotations

import gzip
import json
import os
import stat
import sys
from pathlib import Path

import pytest

from nvrar_bench import __version__
from nvrar_bench.documents.files import parse_json, to_text, write_text
from nvrar_bench.documents.run_file import Writer, encode, read_record
from nvrar_bench.errors import UsageError
from nvrar_bench.settings.casefile import read_case_file
from tests.statistics.records import TWICE, record, result

from .samples import begin

RUN = record(result(TWICE))
TEXT = encode(RUN)
CASE = '[[sweep]]\nname = "é"\nsizes = [64]\n'
FORMS = {
    "gzip": gzip.compress(TEXT.encode()),
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, the other end first": "\ufeff".encode("utf-16-be") + TEXT.encode("utf-16-be"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_record_is_read_in_any_form(tmp_path: Path, form: str):
    (tmp_path / "run").write_bytes(FORMS[form])
    assert read_record(tmp_path / "run") == RUN


@pytest.mark.parametrize("end", [-9, 100])
def test_a_cut_gzip_file_is_named_as_that(tmp_path: Path, end: int):
    (tmp_path / "run.json.gz").write_bytes(FORMS["gzip"][:end])
    with pytest.raises(UsageError, match=r"run\.json\.gz: .*it begins as gzip, but is damaged"):
        read_record(tmp_path / "run.json.gz")


def test_a_name_that_ends_in_gz_is_written_compressed(tmp_path: Path):
    path = tmp_path / "run.json.gz"
    for _ in range(2):
        Writer(path).write(RUN)
        assert gzip.decompress(path.read_bytes()).decode() == TEXT
    assert read_record(path) == RUN


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_case_file_may_begin_with_a_mark(tmp_path: Path, encoding: str):
    (tmp_path / "case.toml").write_bytes(CASE.encode(encoding))
    assert read_case_file(tmp_path / "case.toml")[0].name == "é"


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="'standard input' cannot be read: it is closed"):
        read_record(Path("-"))


def test_a_record_of_a_later_format_says_who_wrote_it(tmp_path: Path):
    value = json.loads(TEXT)
    value["format_version"], value["run"]["version"], value["new"] = "9.7", "5.6.7", 1
    (tmp_path / "run.json").write_text(json.dumps(value))
    with pytest.raises(UsageError) as caught:
        read_record(tmp_path / "run.json")
    message = str(caught.value)
    assert "this record has format_version '9.7', written by nvrar-bench 5.6.7; " in message
    assert f"which this nvrar-bench {__version__} reads: use the one that wrote it" in message


# ---- permissions -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_keeps_its_permissions(tmp_path: Path, mode: int):
    path = tmp_path / "run.json"
    path.touch()
    path.chmod(mode)
    Writer(path).write(begin())
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_nobody_may_read_a_private_file_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, modes, fsync = tmp_path / "run.json", [], os.fsync
    path.touch(mode=0o600)

    def watched(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(path, "a", "--json")
    assert modes == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(tmp_path: Path):
    path = tmp_path / "run.json"
    path.touch()
    os.chown(path, 1234, 2345)
    Writer(path).write(begin())
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


# ---- half a surrogate pair ---------------------------------------------------------------------


def test_a_lone_surrogate_is_written_as_its_escape():
    odd = os.fsdecode(b"caf\xe9.json")
    for value in (odd, [odd], {odd: {"a": (odd, "😀")}}):
        text = to_text(value)
        assert json.loads(text.encode()) == json.loads(text)
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    assert json.loads(to_text([odd, "😀"])) == ["caf\\udce9.json", "😀"]


def test_a_lone_surrogate_is_read_as_its_escape():
    source = b'{"a\\ud800": ["\\udfff", "\\ud83d\\ude00", 1]}'
    assert parse_json(source) == {"a\\ud800": ["\\udfff", "😀", 1]}


def test_a_record_with_arguments_that_are_not_utf_8(tmp_path: Path):
    path = tmp_path / "run.json"
    Writer(path).write(begin(path=os.fsdecode(b"/caf\xe9")))
    assert read_record(path).settings["path"] == "/caf\\udce9"
    path.write_text(path.read_text().replace("\\\\udce9", "\\udce9"))  # as earlier versions wrote
    assert read_record(path).settings["path"] == "/caf\\udce9"
