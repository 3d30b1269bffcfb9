"""Any command line gives settings or one documented mistake: nothing else, and no traceback."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from output import ERROR

from nvrar_bench import __main__ as command
from nvrar_bench.cli import check as check_module
from nvrar_bench.cli import sweep as sweep_module
from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.session.settings import Settings

SIZES = ["0", "-1", "1.3", "1e3", "", "K", "x", "9223372036854775807", "99999999999999999999",
         "16E", "\uff14"]  # fmt: skip
NUMBERS = ["0", "-1", "1.5", "10000001", "1e400", "nan", "inf", "", "x", "0x2", "1_0"]
FACTORS = ["1", "0", "-2", "nan", "inf", "x", "1e9", "1.0000001"]
NAMES = ["", " ", "x", "float31", "two\nlines", "float32 ", "é"]


def _often(good: list[str], bad: list[str]) -> st.SearchStrategy[str]:
    """Mostly right, or every line would fail at its first word."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(bad if n == 0 else good))


def _list_of(*values: str) -> st.SearchStrategy[str]:
    return st.lists(_often([*values], NAMES), min_size=1, max_size=3).map(",".join)


size = _often(["4", "100", "1K", "1.5k", "2MiB", "8M", "3G"], SIZES)
number = _often(["1", "2", "200"], NUMBERS)


# An option and what may follow it; None: nothing does.
OPTIONS: dict[str, st.SearchStrategy[str] | None] = {
    "--min": size,
    "-b": size,
    "--max": size,
    "-e": size,
    "--factor": _often(["2", "1.5", "1.25", "4.0"], FACTORS),
    "--step": _often(["64K", "1M"], SIZES),
    "--sizes": st.lists(size, min_size=1, max_size=4).map(",".join),
    "--backend": _list_of("fake", "mpi", "nvrar", "nccl"),
    "--device": _list_of("auto", "cpu", "cuda"),
    "--dtype": _list_of(*DTYPES),
    "--op": _list_of(*OPS),
    "--buffers": _list_of("symmetric", "private"),
    "--protocol": _list_of("auto", "signal", "packet"),
    "--check-mode": _list_of("exact", "rounding"),
    "--in-place": None,
    "--out-of-place": None,
    "--check": None,
    "--no-check": None,
    "--warmup": number,
    "--iters": number,
    "--nodes": number,
    "--ranks": number,
    "--timeout": number,
    "--seed": number,
    "--case": _often(["smoke", "decode"], ["nosuch", "", ".", "/dev/null", "a.toml"]),
    "--nosuch": None,
}


@st.composite
def command_lines(draw: Any) -> list[str]:
    words = [draw(st.sampled_from(["sweep", "sweep", "sweep", "check"]))]
    for option in draw(st.lists(st.sampled_from(list(OPTIONS)), max_size=5, unique=True)):
        value = OPTIONS[option]
        words += [option] if value is None else [option, draw(value)]
    return words


def _run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[Any]]:
    made: list[Any] = []

    def execute(make_settings: Any, **_: Any) -> None:
        made.append(make_settings())

    monkeypatch.setattr(sys, "argv", ["nvrar-bench", *words])
    monkeypatch.setattr(sweep_module, "execute", execute)
    monkeypatch.setattr(check_module, "execute", execute)
    with pytest.raises(SystemExit) as end:
        command.main()
    return end.value.code, made


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=command_lines())
@example(words=["sweep", "--backend", "two\nlines"])
@example(words=["check", "--case", "two\nlines"])
def test_settings_or_a_mistake(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    code, made = _run(words, monkeypatch)
    out, error = capsys.readouterr()
    assert out == ""
    if code == 0:
        assert error == ""
        _require_sound(made[0])
    else:
        assert code in (2, 5), error
        assert made == []
        assert error.startswith(ERROR)
        assert error.count("\n") == 1, error
        assert len(error) < 1000


def _require_sound(made: Settings) -> None:
    """Everything a rank relies on."""
    assert made.iters >= 1
    assert made.warmup >= 0
    assert 0 < made.timeout <= 86400
    assert made.nodes is None or made.nodes >= 1
    assert set(made.backends) <= {"fake", "mpi", "nvrar", "nccl"}
    assert made.sweeps
    for sweep in made.sweeps:
        assert sweep.plan
        for case in sweep.plan:
            assert case.count >= 1
            assert case.size_bytes == case.count * DTYPES[case.dtype].itemsize < 2**63
            assert case.op in OPS


@pytest.mark.parametrize(
    "words", [["sweep"], ["check"], ["sweep", "--case", "decode"], ["sweep", "--dtype", "all"]]
)
def test_what_is_right_is_accepted(words: list[str], monkeypatch: pytest.MonkeyPatch):
    code, made = _run([*words, "--backend", "fake"], monkeypatch)
    assert code == 0
    _require_sound(made[0])
    assert made[0].backends == ("fake",)
