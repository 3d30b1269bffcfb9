from __future__ import annotations

import pwd

import pytest

from nvrar_bench.launch import home

QUICK = ["sweep", "--sizes", "64", "-n", "2", "-w", "0", "--backend", "mpi", "--json", "-"]


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}])
def test_the_user_database_names_it(monkeypatch, environ):
    row = pwd.struct_passwd(("me", "x", 1, 1, "", "/users/me", "/bin/sh"))
    monkeypatch.setattr(home.pwd, "getpwuid", lambda uid: row)
    home.provide_home(environ)
    assert environ == {"HOME": "/users/me"}


def test_a_user_whom_no_database_knows(monkeypatch):
    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(home.pwd, "getpwuid", unknown)
    environ: dict[str, str] = {}
    home.provide_home(environ)
    assert environ == {"HOME": "/"}


def test_what_is_set_stays():
    environ = {"HOME": "/elsewhere"}
    home.provide_home(environ)
    assert environ == {"HOME": "/elsewhere"}


@pytest.mark.parametrize("words", [[], ["--ranks", "2"]], ids=["alone", "ranks"])
def test_a_run_without_home(run_command, words):
    done = run_command(*QUICK, *words, without=["HOME"])
    assert done.code == 0, done.stderr
    assert done.record()["run"]["status"] == "complete"
