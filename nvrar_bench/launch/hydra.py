"""Leaving mpiexec of MPICH and of Intel MPI without being taken for a crash.

Their launcher, Hydra, sends SIGKILL to every rank as soon as one closes its PMI connection without
having said goodbye, prints a banner, and returns its own exit code (9 or 255) or the rank's,
whichever it sees first. Once every rank has ended there is nobody left to kill: a supervisor then
says goodbye in the place of its rank.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

_PROXY = "hydra_pmi_proxy"
_GOODBYE = b"cmd=finalize\n"  # version 1 of the PMI wire protocol
_ANSWER_S = 1.0


def say_goodbye() -> None:
    """Close the PMI session of a rank that has ended; does nothing under another launcher."""
    number = os.environ.get("PMI_FD", "")
    if number.isdecimal() and _parent_name() == _PROXY:
        with contextlib.suppress(OSError):  # the rank itself had said goodbye
            os.write(int(number), _GOODBYE)
            # Hydra dies of SIGPIPE where the answer finds nobody.
            if select.select([int(number)], [], [], _ANSWER_S)[0]:
                os.read(int(number), 256)


def _parent_name() -> str:
    try:
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    except OSError:
        return ""
