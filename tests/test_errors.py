"""A problem is one text for people, and two for who needs them apart."""

from __future__ import annotations

import pickle

from nvrar_bench.errors import Problem, Unavailable, problem_of


def test_it_is_the_text_that_people_read():
    assert Problem("it is not there", "pip install it") == "it is not there: pip install it"
    assert Problem("a", "b", ". Remedy: ") == "a. Remedy: b"


def test_it_travels_between_ranks_with_its_parts():
    there = pickle.loads(pickle.dumps(Problem("it is: not there", "type: this", "; ")))
    assert (there, there.what, there.fix) == (
        "it is: not there; type: this", "it is: not there", "type: this",
    )  # fmt: skip


def test_an_error_keeps_it():
    problem = Problem("it is not there", "pip install it")
    assert problem_of(Unavailable(problem)) is problem
    assert str(Unavailable(problem)) == "it is not there: pip install it"
    assert problem_of(Unavailable("it is gone")) == "it is gone"
    assert problem_of(OSError()) == ""
