"""The record in the making: what is written when, and how it is closed."""

from __future__ import annotations

import pytest

from nvrar_bench.documents import journal as module
from nvrar_bench.documents.journal import Journal
from nvrar_bench.documents.record import RunRecord, Topology
from nvrar_bench.documents.result import (
    Check,
    Independence,
    Latency,
    Launches,
    Precision,
    Result,
    State,
)
from nvrar_bench.errors import (
    Interrupted,
    LostRank,
    NvrarBenchError,
    TimedOut,
    UsageError,
    WrongResult,
)

RESULT = Result(
    backend="fake", variant="fake", device="cpu", buffers="private", dtype="int8", op="max",
    placement="in_place", size_bytes=7, count=7,
    latency_us=Latency(1.0, None, None, 1.0, 1.0, 1.0, None, None), samples=1, samples_us=(1.0,),
    launch_samples=(1,), late=(), warmup=0, stop_reason="iterations",
    precision=Precision(None, None), independence=Independence(1.0, None, None),
    launches=Launches(1, (1.0,), None, None), arrivals=(),
    algbw_gb_per_s=1.0, busbw_gb_per_s=0.0,
    check=Check("skipped", None, 0, 0, None, timed=True), warnings=(), stretches=(),
    state=State(None, None, None, 0), shape=None, batch=1,
)  # fmt: skip


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
    monkeypatch.setattr(module.time, "monotonic", lambda: journal.clock)
    return journal


@pytest.fixture
def begun(journal, written):
    topology = Topology(1, 1, 1, False, ())
    journal.begin(
        RunRecord.begin(command=[], version="1", settings={}, topology=topology, environment={})
    )
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
    def slow() -> list[Result]:
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
