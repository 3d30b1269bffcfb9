"""HOME, which Open MPI and its mpirun do not start without: systemd and `sbatch --export=NONE` do.

Open MPI wants to read a file of settings there, and ends the process where nothing names a folder.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping

_NOBODYS = "/"  # what containers set for a user whom no database knows


def provide_home(environ: MutableMapping[str, str]) -> None:
    """Set HOME where it is missing or empty, as login(1) does: the user database names it."""
    if not environ.get("HOME"):
        environ["HOME"] = _of_user()


def _of_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir or _NOBODYS
    except KeyError:
        return _NOBODYS
