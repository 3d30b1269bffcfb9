"""Settings that a user or an administrator has put into the files of a library.

A variable of the environment would override these files, so what they set counts as the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Files:
    """The files of one library: lines `key = value`; `#` begins a comment."""

    prefix: str  # of its variables
    named_by: str  # the variable that names another file in place of the first
    paths: tuple[str, ...]
    in_file: str = ""  # what a variable's name begins with in the file


_LIBRARIES = (
    _Files("NCCL_", "NCCL_CONF_FILE", ("~/.nccl.conf", "/etc/nccl.conf"), "NCCL_"),
    _Files("NVSHMEM_", "NVSHMEM_CONF_FILE", ("~/.nvshmem.conf", "/etc/nvshmem.conf"), "NVSHMEM_"),
    _Files("OMPI_MCA_", "OMPI_MCA_mca_base_param_files", ("~/.openmpi/mca-params.conf",)),
)


def read(environment: Mapping[str, str]) -> dict[str, str]:
    """What such files set, by variable; a file that cannot be read sets nothing."""
    found: dict[str, str] = {}
    for library in _LIBRARIES:
        for path in _paths(library, environment):
            for key, value in _lines(path):
                if key.startswith(library.in_file):
                    found.setdefault(f"{library.prefix}{key.removeprefix(library.in_file)}", value)
    return found


def _paths(library: _Files, environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME", "/nonexistent"))
    first, *others = library.paths
    named = environment.get(library.named_by, first)
    return [
        home / text.removeprefix("~/") if text.startswith("~/") else Path(text)
        for text in (named, *others)
    ]


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        if equals and key.strip():
            yield key.strip(), value.strip()
