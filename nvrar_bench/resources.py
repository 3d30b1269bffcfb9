"""Files that ship with the package but are not Python: kernel sources, case files, networks."""

from __future__ import annotations

from pathlib import Path

from nvrar_bench.errors import NvrarBenchError

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """Find the folder `name` ("kernels", "cases" or "networks"), in a wheel or in a checkout.

    The wheel's own copy comes first: beside an installed package lies all of site-packages, where
    a folder of that name belongs to somebody else.

    Raises:
        NvrarBenchError: the folder is in neither place.

    """
    candidates = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    looked_at = " or ".join(str(candidate) for candidate in candidates)
    raise NvrarBenchError(f"this installation lacks its {name} folder; looked for {looked_at}")
