"""The guard in a process of its own, because it ends the process. Under mpirun: tests/launch."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

from nvrar_bench.guard import Guard

HEAD = """
import ctypes, os, signal, sys, threading, time
from nvrar_bench.guard import Guard

def on_end(error):
    print(type(error).__name__, error.exit_code, error, sep="|", flush=True)

guard = Guard(on_end)
guard.start()
me = os.getpid()

def in_c():  # as in MPI_Barrier: a C function that lets other threads run and never comes back
    mutex = ctypes.create_string_buffer(64)
    while True:
        ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


# What started the tests may ignore it, and what is ignored stays so.
HEARS_HANGUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"


def run(body, timeout=60, before=""):
    code = before + HEAD + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=timeout
    )


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("where", ["in_c()", "time.sleep(60)", "\nwhile True: pass"])
def test_signal(number, where):
    body = f"threading.Timer(0.3, os.kill, (me, signal.{number})).start()\n{where}"
    done = run(body, before=HEARS_HANGUP)
    assert done.stdout.startswith(f"Interrupted|130|the run was interrupted ({number}")
    assert done.stdout.count("\n") == 1
    assert (done.returncode, done.stderr) == (130, "")


def test_many_signals_end_once():
    done = run(
        """
        for n in range(5):
            threading.Timer(0.2 + n / 1000, os.kill, (me, signal.SIGINT)).start()
        in_c()
        """
    )
    assert done.stdout.count("Interrupted") == 1
    assert (done.returncode, done.stderr) == (130, "")


def test_watch_expires():
    done = run("with guard.watch('the third barrier', 0.3): in_c()")
    assert done.stdout.startswith("TimedOut|4|rank 0 on host ")
    assert "s in the third barrier; the limit is 0.3 s" in done.stdout
    assert (done.returncode, done.stderr) == (4, "")


def test_watch_that_is_left_in_time():
    done = run(
        """
        for _ in range(20):
            with guard.watch("a step", 2.0):
                time.sleep(0.12)
        time.sleep(2.2)
        guard.stop()
        print("done")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_outer_watch_comes_back():
    done = run(
        """
        with guard.watch("outer", 0.6):
            with guard.watch("inner", 60):
                time.sleep(1.0)
            in_c()
        """
    )
    assert "in outer; the limit is 0.6 s" in done.stdout
    assert done.returncode == 4


def test_renewed_watch_starts_anew():
    done = run(
        """
        guard.renew()
        with guard.watch("a step", 3.0):
            for _ in range(4):
                time.sleep(0.9)
                guard.renew()
        guard.stop()
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_fail():
    done = run(
        """
        from nvrar_bench.errors import TimedOut
        guard.fail(TimedOut("step 2 of phase 1"))
        """
    )
    assert (done.returncode, done.stdout) == (4, "TimedOut|4|step 2 of phase 1\n")


def test_stop_gives_the_handlers_back():
    done = run(
        """
        guard.stop()
        guard.stop()
        try:
            os.kill(me, signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            print("as before", threading.active_count())
        """
    )
    assert (done.returncode, done.stdout) == (0, "as before 1\n")


def test_stop_does_not_return_once_the_end_has_begun():
    done = run(
        """
        def slow(error):
            time.sleep(0.5)
            print("written", flush=True)
        guard._on_end = slow
        os.kill(me, signal.SIGTERM)
        time.sleep(0.2)
        guard.stop()
        print("main went on", flush=True)
        """
    )
    assert (done.returncode, done.stdout) == (130, "written\n")


@pytest.mark.parametrize("body", ["in_c()", "raise RuntimeError('disk full')"])
def test_on_end_that_hangs_or_fails(body):
    started = time.monotonic()
    done = run(
        f"""
        def bad(error):
            {body}
        guard._on_end = bad
        os.kill(me, signal.SIGTERM)
        in_c()
        """
    )
    assert time.monotonic() - started < 40
    assert (done.returncode, done.stderr) == (130, "")


def test_a_signal_that_was_ignored_stays_ignored():
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        + HEAD
        + "os.kill(me, signal.SIGHUP); time.sleep(0.5); guard.stop(); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_shared_memory_is_unlinked(tmp_path):
    done = run(
        """
        import mmap
        path = f"/dev/shm/nvrar_guard_{me}"
        file = open(path, "w+b")
        file.truncate(4096)
        memory = mmap.mmap(file.fileno(), 4096)
        guard._on_end = lambda error: print(os.path.exists(path), flush=True)
        os.kill(me, signal.SIGTERM)
        in_c()
        """
    )
    assert done.stdout == "False\n"


def test_a_watch_costs_little():
    guard = Guard(lambda error: None)
    started = time.process_time()
    for _ in range(10_000):
        with guard.watch("a step", 30):
            pass
    assert time.process_time() - started < 1.0


def test_stop_without_start():
    Guard(lambda error: None).stop()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
