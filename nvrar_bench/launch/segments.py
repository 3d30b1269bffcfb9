"""Shared memory files that an MPI library would leave behind in /dev/shm.

A mapped file that loses its name lives on until the last process unmaps it, so a segment that
every rank has attached can be unlinked while it is in use.
"""

from __future__ import annotations

from pathlib import Path

_SHM = "/dev/shm/"  # noqa: S108 - read from the map of this process, never made up

# Segments that keep their name until MPI_Finalize and that no launcher removes. MPICH attaches all
# ranks of a node in MPI_Init and does not mind when its own unlink at the end finds nothing. Open
# MPI's sm_segment.* may be attached later; its launcher removes them.
_KEPT_UNTIL_FINALIZE = ("mpich_shm_",)


def mapped_segments(process: int | str = "self") -> set[Path]:
    """Return the named files below /dev/shm that `process` has mapped."""
    try:
        lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    except OSError:
        return set()
    names = (line.split(maxsplit=5)[5] for line in lines if _SHM in line)
    return {Path(name) for name in names if name.startswith(_SHM) and "(deleted)" not in name}


def unlink(paths: set[Path]) -> None:
    """Unlink `paths`, as far as they are there and may be unlinked."""
    for path in paths:
        try:
            path.unlink()
        except OSError:
            continue  # another rank was first, or the file belongs to somebody else


def unlink_world_segments(ranks: int) -> None:
    """Unlink what MPI_Init leaves in /dev/shm until MPI_Finalize; MPI_COMM_WORLD has `ranks` ranks.

    Call it on every rank after MPI_Init and a barrier: every rank has attached its segments then,
    and a job that is killed later leaves nothing behind.
    """
    alone = ranks == 1  # with no launcher to remove anything, and nobody to attach
    mapped = mapped_segments()
    unlink({path for path in mapped if alone or path.name.startswith(_KEPT_UNTIL_FINALIZE)})


def unlink_segments() -> None:
    """Unlink every file in /dev/shm that this process has mapped: for a job that ends badly."""
    unlink(mapped_segments())
