"""What people who come from nccl-tests type: accepted where it means the same, else one line."""

from __future__ import annotations

import pytest
from lines import Runner

from nvrar_bench.cli.nccl_tests import HABITS
from nvrar_bench.devices import machine

ERROR = "nvrar-bench: error: "


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(monkeypatch)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("-b 8 -e 128M -f 2 -g 1", "--min 8 --max 128M --factor 2"),
        ("--minbytes 8 --maxbytes 1K --stepbytes 8", "--min 8 --max 1K --step 8"),
        ("--minbytes=1K --stepfactor=3", "--min 1K --factor 3"),
        ("--iters 7 --warmup_iters 3", "-n 7 -w 3"),
        ("-d float", "--dtype float32"),
        ("-d fp64,fp32,fp16,bf16", "--dtype float64,float32,float16,bfloat16"),
        ("--datatype half,double", "--dtype float16,float64"),
        ("-d f8e4m3,f8e5m2,bfloat16", "--dtype float8_e4m3,float8_e5m2,bfloat16"),
        ("-d all -o all", "--dtype all --op all"),
        ("-c 1", "--check"),
        ("-c 0", "--no-check"),
        ("-c0", "--no-check"),
        ("-G 0", ""),
        ("--cudagraph 8", "--graph 8"),
        ("-t 1 -g 1 -m 1 -N 1 -p 0 -z 0 -a 3 -r 0", ""),
        ("--nthreads 1 --ngpus=1 --agg_iters 1 --run_cycles 1 --blocking 0", ""),
    ],
)
def test_what_means_the_same_is_accepted(runner: Runner, theirs: str, ours: str):
    done, wanted = (runner.run(["sweep", *line.split()]) for line in (theirs, ours))
    assert (done.code, done.stderr) == (0, "")
    assert done.settings == wanted.settings


@pytest.mark.parametrize(
    ("theirs", "say"),
    [
        ("-g 2", "--ranks N"),
        ("--ngpus 8", "mpirun -n N"),
        ("-t 2", "--ranks N"),
        ("-m 4", "--batch 4"),
        ("-N 10", "--launches 10"),
        ("-N 0", "--launches"),
        ("-a 1", "maximum over ranks"),
        ("-I 1", "--json PATH"),
        ("-K 5", "--warmup 5"),
        ("-p 1", "leave it out"),
        ("-z 1", "leave it out"),
        ("-R 2", "--buffers symmetric"),
        ("-J out.json", "--json out.json"),
        ("--output_file out.csv", "--json out.csv"),
        ("-V 16", "--blocks 16"),
        ("-c 5", "check --soak"),
        ("-c x", "1 to verify"),
    ],
)
def test_what_is_not_here_is_told_in_a_line_that_says_what_to_type(
    runner: Runner, theirs: str, say: str
):
    done = runner.run(["sweep", *theirs.split()])
    assert (done.code, done.stdout, done.settings) == (2, "", ())
    assert done.stderr.count("\n") == 1
    flag, value = theirs.split()
    message = done.stderr.removeprefix(ERROR)
    assert flag in message
    assert value in message
    assert say in message


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.flags[0])
def test_every_habit_has_a_value_that_is_refused_and_names_that_are_alike(runner: Runner, habit):
    for flag in habit.flags:
        assert runner.run(["sweep", flag, "77"]).code == 2
        for value in habit.same:
            assert runner.run(["sweep", flag, value]).code == 0


def test_habits_are_not_listed(runner: Runner):
    assert "--ngpus" not in runner.run(["sweep", "--help"]).stdout


@pytest.mark.parametrize(("cores", "ranks"), [(1, 2), (2, 2), (16, 16)])
def test_auto_is_a_rank_per_core_and_two_at_least(runner: Runner, monkeypatch, cores, ranks):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert runner.run(["sweep", "--ranks", "auto", "--nodes", str(ranks)]).code == 0
    refused = runner.run(["sweep", "--ranks=auto", "--nodes", "99"])
    assert f"what divides {ranks} ranks" in refused.stderr


def test_a_number_of_ranks_that_is_none(runner: Runner):
    assert "'two': allowed: a whole number, or auto" in runner.run(
        ["sweep", "--ranks", "two"]
    ).stderr  # fmt: skip
