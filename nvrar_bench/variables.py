"""The environment variables that change what a run does: an allow-list, and never a secret.

Of ours, TUNING names the tuning table of a command that is given none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

TUNING = "NVRAR_BENCH_TUNING"
NCCL = ("NCCL_",)
NVSHMEM = ("NVSHMEM_",)
# Everything with such a beginning steers a library that takes part in a run.
_PREFIXES = "CUDA_ UCX_ FI_ OMPI_MCA_ OPAL_ PRTE_MCA_ PMIX_MCA_ MPICH_ HYDRA_ I_MPI_ MV2_ MPI4PY_"
PREFIXES = (*NCCL, *NVSHMEM, *_PREFIXES.split(), "NVRAR_BENCH_")
NAMES = (
    *("CXX", "LD_LIBRARY_PATH", "LD_PRELOAD", "SLURM_MPI_TYPE", "XDG_CACHE_HOME"),
    *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
)

_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASS|PSK|CREDENTIAL|AUTH", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]*@|-----BEGIN|\b[0-9A-Fa-f]{32,}\b|[A-Za-z0-9+]{40,}=*$")


def chosen(
    variables: Mapping[str, str], prefixes: Sequence[str] = PREFIXES, names: Sequence[str] = ()
) -> dict[str, str]:
    """Those of `variables` with one of the `prefixes` or `names`, but nothing like a secret."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if (name.startswith(tuple(prefixes)) or name in names)
        and not _SECRET_NAME.search(name)
        and not _SECRET_VALUE.search(value)
    }


def named_table(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `path`, or else what $NVRAR_BENCH_TUNING names; None where nobody names a table."""
    named = environ.get(TUNING) if path is None else path
    return Path(named) if named else None
