"""Any case file, given to `sweep` and `check`, gives settings or one documented mistake.

$NVRAR_BENCH_FUZZ is the number of files, 200 if it is not set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lines import Runner
from output import ERROR
from test_command_lines import require_sound

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.files import data_dir
from nvrar_bench.settings import casefile
from nvrar_bench.settings.casefile import shipped_case_files

FUZZ = settings(
    settings.get_profile("fuzz"),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SHIPPED = [(data_dir("cases") / f"{name}.toml").read_bytes() for name in shipped_case_files()]

# Values as TOML writes them.
WORST = [
    "0", "-1", "1e400", "nan", "-inf", "true", '""', '" "', "[]", "[[]]", "{}", "1979-05-27",
    "07:32:00", "9" * 30, "9" * 5000, "0x10", '"two\\nlines"', '"\\u001b[2J"', f'"{"x" * 2000}"',
    "[1, [2]]", '{name = "x"}', "1.0000001", "9223372036854775807", "[" * 200 + "]" * 200,
]  # fmt: skip
SIZE = st.sampled_from(["4", "64", '"1K"', '"1.5k"', '"2MiB"', '"3G"', "1048576"])
WHOLE = st.sampled_from(["1", "2", "3", "8", "4096"])
GOOD: dict[str, st.SearchStrategy[str]] = {
    **dict.fromkeys(("min", "max", "step"), SIZE),
    **dict.fromkeys(("iters", "warmup"), WHOLE),
    "factor": st.sampled_from(["2", "1.5", "4.0"]),
    "name": st.sampled_from(['"one"', '"two"', "'é'"]),
}
LISTS: dict[str, st.SearchStrategy[str]] = {
    "sizes": SIZE,
    **dict.fromkeys(("counts", "hidden", "batches", "nodes"), WHOLE),
    "dtype": st.sampled_from([f'"{name}"' for name in (*DTYPES, "all")]),
    "op": st.sampled_from([f'"{name}"' for name in (*OPS, "all")]),
    "placement": st.sampled_from(['"in_place"', '"out_of_place"']),
    "buffers": st.sampled_from(['"symmetric"', '"private"']),
    "protocol": st.sampled_from(['"auto"', '"signal"', '"packet"']),
    "check": st.sampled_from(['"exact"', '"rounding"']),
    "backends": st.sampled_from(['"mpi"', '"nvrar"', '"nccl"', '"fake"', '"nosuch"']),
}
KEYS = casefile._KEYS  # of the reader itself: a new one is drawn with the worst values at least


def _value(key: str) -> st.SearchStrategy[str]:
    good = GOOD.get(key, st.sampled_from(WORST))
    if key in LISTS:
        several = st.lists(LISTS[key], min_size=1, max_size=3).map(
            lambda them: f"[{', '.join(them)}]"
        )
        good = LISTS[key] | several
    return st.integers(0, 14).flatmap(lambda n: st.sampled_from(WORST) if n == 0 else good)


@st.composite
def sweeps(draw: Any) -> str:
    """One table: a name, one way to say the sizes, and some other keys, at times one too many."""
    ways = [
        ("sizes",),
        ("counts",),
        ("hidden", "batches"),
        ("min", "max"),
        ("min", "max", "factor"),
    ]
    others = [key for key in KEYS if key != "name" and not any(key in way for way in ways)]
    keys = ["name", *draw(st.sampled_from(ways))]
    keys += draw(st.lists(st.sampled_from(others), max_size=4, unique=True))
    change = draw(st.sampled_from(["none"] * 8 + ["drop", "double", "unknown", "another"]))
    if change == "drop":
        keys.remove(draw(st.sampled_from(keys)))
    elif change != "none":
        keys.append({"double": keys[-1], "unknown": "Sizes", "another": "min"}[change])
    return "[[sweep]]\n" + "".join(f"{key} = {draw(_value(key))}\n" for key in keys)


def _joined(tables: list[str]) -> bytes:
    return "\n".join(tables).encode()


@st.composite
def damaged(draw: Any) -> bytes:
    """A case file that ships, with a few bytes cut out, put in, or replaced."""
    content = bytearray(draw(st.sampled_from(SHIPPED)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = start + draw(st.integers(0, 12))
        content[start:end] = draw(st.binary(max_size=6) | st.sampled_from([b"[[", b'"', b"9" * 99]))
    return bytes(content)


FILES = st.lists(sweeps(), min_size=1, max_size=3).map(_joined) | damaged() | st.binary(max_size=80)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runner:
    monkeypatch.chdir(tmp_path)
    return Runner(monkeypatch)


@FUZZ
@given(content=FILES, command=st.sampled_from(["sweep", "check"]))
@example(content=b"", command="sweep")
@example(content=b"\xff\xfe", command="sweep")
@example(content=b"[" * 100_000, command="check")
@example(content=b"a." * 30_000 + b"b = 1", command="check")
@example(content=b"a." * 500_000 + b"b = 1", command="check")
@example(content=b'[[sweep]]\nname = "x"\nsizes = [' + b"4," * 30_000 + b"]", command="sweep")
def test_settings_or_a_mistake(content: bytes, command: str, runner: Runner):
    Path("case.toml").write_bytes(content)
    done = runner.run([command, "--case", "case.toml"])
    assert done.stdout == ""
    if done.code == 0:
        assert done.stderr == ""
        require_sound(done.settings[0])
        json.dumps(done.settings[0].to_json(), allow_nan=False)
        return
    assert (done.code, done.settings) == (2, ()), done.stderr
    assert done.stderr.startswith(f"{ERROR}--case "), done.stderr
    assert "case.toml" in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 1000


def test_most_of_the_drawn_tables_are_right(runner: Runner):
    """Or the fuzzing above would only ever see the first refusal."""
    right = []

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(sweeps())
    def look(text: str) -> None:
        Path("case.toml").write_text(text)
        right.append(runner.run(["sweep", "--case", "case.toml"]).code == 0)

    look()
    assert sum(right) > len(right) / 5
