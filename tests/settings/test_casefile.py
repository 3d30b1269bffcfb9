"""Case files: what the shipped ones hold, what the reader takes, and how it refuses."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.errors import CaseFileError, NvrarBenchError
from nvrar_bench.files import data_dir
from nvrar_bench.settings.casefile import Sweep, read_case_file, shipped_case_files
from nvrar_bench.settings.plans import build_plan

HEAD = '[[sweep]]\nname = "one"\n'


def read(tmp_path: Path, text: str) -> tuple[Sweep, ...]:
    path = tmp_path / "case.toml"
    path.write_text(text)
    return read_case_file(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(CaseFileError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "case.toml"))
    return message.removeprefix(f"{tmp_path / 'case.toml'}: ")


def test_what_is_left_out_is_left_to_the_caller(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + "sizes = [64]") == (
        Sweep("one", nodes=(), backends=(), iters=None, warmup=None, plan=build_plan([64])),
    )


def test_everything_that_a_sweep_may_say(tmp_path: Path) -> None:
    text = """
        [[sweep]]
        name = "all of it"
        min = "1K"
        max = 4096
        factor = 1.5
        dtype = ["float16", "int8"]
        op = "max"
        placement = ["in_place"]
        buffers = ["symmetric", "private"]
        protocol = "packet"
        check = ["exact", "rounding"]
        nodes = [1, 2, 2]
        backends = ["nvrar", "mpi"]
        iters = 7
        warmup = 0

        [[sweep]]
        name = "another"
        counts = 3
    """
    plan = build_plan(
        [1024, 1536, 2304, 3456],
        ["float16", "int8"],
        ["max"],
        ["in_place"],
        ["symmetric", "private"],
        ["packet"],
        ["exact", "rounding"],
    )
    first, second = read(tmp_path, text)
    assert first == Sweep("all of it", (1, 2), ("nvrar", "mpi"), 7, 0, plan)
    assert second.plan == build_plan(counts=[3])


def test_a_step_may_be_a_size(tmp_path: Path) -> None:
    (sweep,) = read(tmp_path, HEAD + 'min = "1K"\nmax = "3K"\nstep = "1K"')
    assert [case.size_bytes for case in sweep.plan] == [1024, 2048, 3072]


def test_hidden_and_batches_make_the_sizes(tmp_path: Path) -> None:
    text = HEAD + 'hidden = [100, 1000]\nbatches = [1, 3]\ndtype = ["bfloat16", "float32"]'
    (sweep,) = read(tmp_path, text)
    sizes = [case.size_bytes for case in sweep.plan]
    assert sizes == [200, 600, 2000, 6000, 400, 1200, 4000, 12000]


SIZED = HEAD + "sizes = [64]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sweep: expected one or more [[sweep]] tables"),
        ("sweep = 3", "sweep: expected one or more [[sweep]] tables"),
        ("sweep = [3]", "sweep 1: expected a table, [[sweep]]"),
        ("title = 3\n" + SIZED, "unknown key 'title'; allowed: [[sweep]]"),
        (SIZED + "size = 3", "sweep 1: unknown key 'size'; allowed: name, min, max, factor, "),
        ("[[sweep]]\nsizes = [64]", "sweep 1: name is missing; allowed: a text"),
        ("[[sweep]]\nname = 3", "sweep 1: name 3 is not allowed; allowed: a text"),
        (SIZED + SIZED, "sweep 2: name 'one' is taken"),
        (HEAD, "sweep 1: sizes given in 0 ways; allowed: exactly one of min and max; sizes; "),
        (SIZED + "counts = [3]", "sweep 1: sizes given in 2 ways; allowed: exactly one of "),
        (HEAD + "min = 4", "sweep 1: max is missing; allowed: a size in bytes"),
        (HEAD + "min = 4\nmax = 2", "sweep 1: min 4 max 2: allowed: 1 <= min <= max"),
        (HEAD + "min = 4\nmax = 8\nfactor = true", "sweep 1: factor True is not allowed; "),
        (HEAD + "min = 4\nmax = 8\nfactor = nan", "sweep 1: factor nan is not allowed; "),
        (HEAD + "min = 4\nmax = 8\nfactor = 2\nstep = 2", "sweep 1: factor and step exclude"),
        (HEAD + "min = 3\nmax = 8", "sweep 1: min 3 is not allowed with dtype float32; "),
        (HEAD + "hidden = 8", "sweep 1: batches is missing; allowed: whole numbers, 1 and more"),
        (HEAD + "hidden = 8\nbatches = 0", "sweep 1: batches 0 is not allowed; allowed: whole"),
        (HEAD + "sizes = []", "sweep 1: sizes [] is not allowed; allowed: a list that is not"),
        (HEAD + "sizes = [1.5]", "sweep 1: sizes [1.5] is not allowed; allowed: a size in bytes"),
        (HEAD + "sizes = ['3Q']", "sweep 1: sizes '3Q' is not a size; allowed: a whole number"),
        (HEAD + "sizes = [true]", "sweep 1: sizes [True] is not allowed; allowed: a size in"),
        (HEAD + "counts = [0]", "sweep 1: counts [0] is not allowed; allowed: whole numbers"),
        (SIZED + "dtype = 'float12'", "sweep 1: dtype 'float12' is not allowed; allowed: float64"),
        (SIZED + "dtype = 32", "sweep 1: dtype 32 is not allowed; allowed: a text or a list of"),
        (SIZED + "op = ['sum', 3]", "sweep 1: op ['sum', 3] is not allowed; allowed: a text or"),
        (SIZED + "protocol = 'LL'", "sweep 1: protocol 'LL' is not allowed; allowed: auto, "),
        (SIZED + "nodes = [2, 0]", "sweep 1: nodes [2, 0] is not allowed; allowed: whole numbers"),
        (SIZED + "backends = []", "sweep 1: backends [] is not allowed; allowed: a list that is"),
        (SIZED + "iters = 0", "sweep 1: iters 0 is not allowed; allowed: a whole number, 1 and"),
        (SIZED + "iters = 2.0", "sweep 1: iters 2.0 is not allowed; allowed: a whole number, 1"),
        (SIZED + "warmup = -1", "sweep 1: warmup -1 is not allowed; allowed: a whole number, 0"),
    ],
)
def test_a_mistake_names_file_sweep_key_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    assert refusal(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    "content",
    [
        b"[[sweep",
        b"\xff\xfe\x00",
        b"\xff",
        b"a = " + b"9" * 10_000,
        b"a = " + b"[" * 50_000,
        b"a = 1\na = 2",
    ],
)
def test_what_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(CaseFileError, match=r"broken.toml': is not TOML: "):
        read_case_file(path)


def test_a_long_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_bytes(b"a." * 500_000 + b"b = 1")
    with pytest.raises(CaseFileError, match=r"long.toml: is too long; allowed: up to 65536 bytes"):
        read_case_file(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.toml", "No such file"), ("", "Is a directory"), ("n" * 300, "too long")],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(CaseFileError, match=f"cannot be read: .*{reason}"):
        read_case_file(tmp_path / name)


def test_a_name_that_holds_a_zero_byte_is_refused() -> None:
    with pytest.raises(CaseFileError):
        read_case_file("a\0b.toml")


_VALUES = st.sampled_from(
    [
        *("1", "0", "-1", "1.5", "1e300", "nan", "inf", "9223372036854775807", "true"),
        *("'128K'", "'all'", "'x'", "'in_place'", "1979-05-27", "{}"),
        *("[]", "[[1]]", "[1, 'a']", "[2, 1]"),
    ]
)
_ALL_KEYS = st.sampled_from(
    [
        *("name", "min", "max", "factor", "step", "sizes", "counts", "hidden", "batches"),
        *("dtype", "op", "placement", "buffers", "protocol", "check"),
        *("nodes", "backends", "iters", "warmup", "x"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(_ALL_KEYS, _VALUES, max_size=8))
def test_any_values_are_sweeps_or_a_case_file_error(tmp_path: Path, table: dict[str, str]) -> None:
    lines = [f"{key} = {value}" for key, value in table.items()]
    try:
        (sweep,) = read(tmp_path, "\n".join(["[[sweep]]", *lines]))
    except CaseFileError:
        return
    assert len(sweep.plan) > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=60))
def test_any_bytes_are_sweeps_or_a_case_file_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "case.toml"
    path.write_bytes(content)
    with pytest.raises(CaseFileError):  # 60 random bytes hold no [[sweep]] with name and sizes
        read_case_file(path)


def test_a_bare_name_is_a_shipped_file() -> None:
    assert read_case_file("smoke") == read_case_file(data_dir("cases") / "smoke.toml")


def test_a_bare_name_that_is_not_shipped_lists_those_that_are() -> None:
    with pytest.raises(CaseFileError) as caught:
        read_case_file("somke")
    message = str(caught.value)
    assert message.startswith("--case 'somke' is no shipped case file; allowed: ")
    assert all(name in message for name in ("correctness", "decode", "paper", "smoke"))


def test_a_path_object_is_never_a_shipped_name() -> None:
    with pytest.raises(CaseFileError, match=r"^smoke: cannot be read"):
        read_case_file(Path("smoke"))


def test_a_folder_that_does_not_ship_is_an_error_of_the_installation() -> None:
    with pytest.raises(NvrarBenchError, match="lacks its nonsense folder"):
        data_dir("nonsense")


@pytest.mark.parametrize("name", shipped_case_files())
def test_every_shipped_file_is_read(name: str) -> None:
    assert read_case_file(name)


def test_the_paper_file_covers_the_range_of_the_claim() -> None:
    (sweep,) = read_case_file("paper")
    sizes = [case.size_bytes for case in sweep.plan if case.dtype == "bfloat16"]
    assert sizes == [2**power for power in range(17, 22)]


def test_the_decode_file_holds_the_published_sizes() -> None:
    small, large = read_case_file("decode")
    kib = [1024 * 2**power for power in range(4, 12)]
    assert [case.size_bytes for case in small.plan] == kib[:-1]  # 16K .. 1M
    assert [case.size_bytes for case in large.plan] == kib[1:]  # 32K .. 2M, with 256K at batch 8


def _second_mode(dtype: str, op: str) -> list[str]:
    if DTYPES[dtype].is_float:
        return ["rounding"]
    return {"sum": ["wrap"], "prod": ["wrap"], "min": ["rounding"], "max": ["rounding"]}.get(op, [])


def test_the_correctness_file_covers_every_combination() -> None:
    sweeps = {sweep.name: sweep for sweep in read_case_file("correctness")}
    typed = [sweeps[name] for name in ("every-float", "every-integer", "integer-extrema")]
    axes = {
        (c.dtype, c.op, c.check_mode, c.placement, c.buffers, c.protocol)
        for sweep in typed
        for c in sweep.plan
    }
    checked = {
        (dtype, op, mode)
        for dtype, op in product(DTYPES, OPS)
        for mode in ("exact", *_second_mode(dtype, op))
    }
    assert {axis[:3] for axis in axes} == checked
    assert len(axes) == len(checked) * 2 * 2 * 2
    shapes = {case.count for case in sweeps["every-shape"].plan}
    assert {1, 2, 3, 5, 7, 15, 17} <= shapes
    for ranks in (2, 3, 4, 6, 8):
        assert all(any(ranks % nodes == 0 for nodes in sweep.nodes) for sweep in typed)
        assert {1, ranks} <= {*sweeps["one-phase"].nodes, 2}
        assert {1, ranks} <= set(sweeps["every-shape"].nodes)


def test_the_correctness_file_stays_small_enough_for_four_ranks() -> None:
    runs = [
        (case.count, sum(4 % nodes == 0 for nodes in sweep.nodes))
        for sweep in read_case_file("correctness")
        for case in sweep.plan
    ]
    assert sum(times for _, times in runs) < 2500
    assert sum(count * times for count, times in runs) < 2**27
