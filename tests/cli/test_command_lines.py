"""Any command line gives settings or one documented mistake: nothing else, and no traceback.

$NVRAR_BENCH_FUZZ is the number of lines, 200 if it is not set.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lines import (
    WORST,
    Outcome,
    Runner,
    arguments,
    command_lines,
    commands,
    options,
    spellings,
)
from output import ERROR

from nvrar_bench.datatypes import DTYPES, OPS
from nvrar_bench.settings.settings import Settings
from nvrar_bench.timing.stopping import Taken

FUZZ = settings(
    settings.get_profile("fuzz"),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Runner:
    monkeypatch.chdir(tmp_path)  # --json writes files
    return Runner(monkeypatch)


@FUZZ
@given(words=command_lines())
@example(words=["sweep", "--backend", "two\nlines"])
@example(words=["check", "--case", "two\nlines"])
@example(words=["sweep", "--case", "a\0b.toml"])
@example(words=["compile", "--json", "a\0b"])
@example(words=["env", "--device", "cuda"])
def test_settings_or_a_mistake(words: list[str], runner: Runner):
    done = runner.run(words)
    if done.code == 0:
        assert done.stderr == ""
        for made in done.settings:
            require_sound(made)
    else:
        require_one_mistake(done, words)


def require_one_mistake(done: Outcome, words: list[str]) -> None:
    assert done.code in (2, 5), done.stderr
    is_listed = words[0] == "env" and done.code == 5  # its table says what is missing
    assert bool(done.stdout) == is_listed
    assert done.settings == ()
    assert done.stderr.startswith(ERROR)
    assert done.stderr.count("\n") == 1, done.stderr
    assert len(done.stderr) < 1000
    message = done.stderr.removeprefix(ERROR)
    assert any(_names(message, word) for word in words[1:]), (words, message)


def _names(message: str, word: str) -> bool:
    """Whether the message speaks of an option as written, or of a word that is out of place."""
    spelling = word.partition("=")[0]
    known = [spellings(option) for name in commands() for option in options(name)]
    return (
        any(other in message for same in known if spelling in same for other in same)
        or spelling.strip() in message
    )


def require_sound(made: Settings) -> None:
    """Everything a rank relies on."""
    assert made.stopping.rule().next_turn(Taken(np.zeros(0), 0, 0.0)) >= 1
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
    json.dumps(made.to_json(), allow_nan=False)  # as the record keeps them


@pytest.mark.parametrize(
    ("name", "option"),
    [(n, o) for n in commands() for o in options(n)],
    ids=lambda x: getattr(x, "name", x),
)
def test_the_worst_values_of_every_option_are_refused_or_sound(
    name: str, option: Any, runner: Runner
):
    for value in [""] if option.is_flag else WORST:
        words = [name, spellings(option)[0], *([] if option.is_flag else [value])]
        words += arguments(name, words)
        done = runner.run(words)
        if done.code == 0:
            for made in done.settings:
                require_sound(made)
        else:
            require_one_mistake(done, words)


@pytest.mark.parametrize(
    "words", [["sweep"], ["check"], ["sweep", "--case", "decode"], ["sweep", "--dtype", "all"]]
)
def test_what_is_right_is_accepted(words: list[str], runner: Runner):
    done = runner.run([*words, "--backend", "fake"])
    assert (done.code, done.stderr) == (0, "")
    require_sound(done.settings[0])
    assert done.settings[0].backends == ("fake",)


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(words=command_lines("sweep", "schema"), option=st.just("--nosuch"))
def test_as_a_process_of_its_own(words: list[str], option: str, run_command: Callable[..., Any]):
    """The last option is always wrong, so that nothing is measured."""
    words = [word.replace("\0", "") for word in words]
    done = run_command(*words, option)
    assert done.code == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(ERROR)
    assert done.stderr.count("\n") == 1
