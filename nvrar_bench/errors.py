"""What can go wrong, and the exit code of each.

    NvrarBenchError              1   unexpected error
    ├── Unexpected               1   an exception that nobody foresaw; only one rank may know it
    ├── OutputError              1   standard output did not take everything
    │   └── ReaderGone           1   as of `| head -1`: nothing is said
    ├── UsageError               2   a bad argument or case file
    │   ├── CaseFileError        2
    │   └── NotOneJob            2   what a launcher started as ranks is none, or less
    ├── WrongResult              3   a result was wrong
    ├── TimedOut                 4   a wait passed its deadline
    ├── LostRank                 4   a rank died or never arrived
    ├── Unavailable              5   a backend or device asked for by name is not there
    │   └── CompilerError        5   the kernel compiler is missing or failed
    ├── Regression               6   `compare` found a regression
    │   └── Undecided            6   `compare --strict` could not decide a point
    └── Interrupted            130   Ctrl-C, SIGINT or SIGTERM ended the run

A message names what was given and what is allowed, or what is missing and the command that fixes
it. The command line prints the message alone: no traceback.
"""

from __future__ import annotations

from typing import Any

EXIT_CODES = (0, 1, 2, 3, 4, 5, 6, 130)
TRACEBACK = "NVRAR_BENCH_TRACEBACK"
SPOKEN = "nvrar-bench: error: "  # what a message on standard error begins with


class NvrarBenchError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1
    of_one_rank = False  # whether other ranks may know nothing of it, rank 0 included


class Unexpected(NvrarBenchError):
    """An exception that nobody foresaw, with its type and message."""

    of_one_rank = True

    @classmethod
    def of(cls, error: BaseException, where: str = "") -> Unexpected:
        """Wrap `error`, which was raised on `where`."""
        on = f", on {where}" if where else ""
        return cls(f"unexpected {type(error).__name__}: {error}{on} ({TRACEBACK}=1 shows where)")


class OutputError(NvrarBenchError):
    """Not everything could be written to standard output."""


class ReaderGone(OutputError):
    """The reader of standard output has closed it: no message is printed."""


class UsageError(NvrarBenchError):
    """A bad argument: the message names the option, the value and what is allowed."""

    exit_code = 2


class CaseFileError(UsageError):
    """A case file that cannot be read, is not TOML, or holds an unknown key or value."""


class NotOneJob(UsageError):
    """MPI sees fewer ranks than the launcher started: each process is alone."""

    of_one_rank = True


class WrongResult(NvrarBenchError):
    """An all-reduce gave a wrong result; the message names the first wrong index."""

    exit_code = 3


class TimedOut(NvrarBenchError):
    """A wait passed its deadline; the message says who waited for whom, and where."""

    exit_code = 4


class LostRank(NvrarBenchError):
    """A rank died or never arrived."""

    exit_code = 4


class Unavailable(NvrarBenchError):
    """A backend or device asked for by name cannot be used; the message gives the fix."""

    exit_code = 5


class CompilerError(Unavailable):
    """There is no kernel compiler, or it refused the kernel."""


class Regression(NvrarBenchError):
    """`compare` found a point that became slower."""

    exit_code = 6


class Undecided(Regression):
    """`compare --strict` found a point that could not be decided."""


class Interrupted(NvrarBenchError):
    """The user or the launcher ended the run."""

    exit_code = 130


class Problem(str):
    """A message that is `what`, a separator and `fix`, such as a command to type."""

    what: str
    fix: str

    def __new__(cls, what: str, fix: str, between: str = ": ") -> Problem:
        """Join the parts; they stay at hand."""
        problem = super().__new__(cls, f"{what}{between}{fix}")
        problem.what, problem.fix = what, fix
        return problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between ranks; the separator stays what it was."""
        # Pickle would call the class with the joined text alone.
        between = self[len(self.what) : len(self) - len(self.fix)]
        return Problem, (self.what, self.fix, between)


def problem_of(error: Exception) -> str:
    """The problem that an error was raised with, or else its message."""
    first = error.args[0] if error.args else None
    return first if isinstance(first, Problem) else str(error)
