"""Adapters as folders: what the kernel lists below /sys/class/infiniband."""

from __future__ import annotations

from pathlib import Path


def adapter(root: Path, name: str, *states: str) -> None:
    folder = root / "infiniband" / name
    folder.mkdir(parents=True)
    (folder / "hca_type").write_text("MT4129\n")
    for number, state in enumerate(states, 1):
        port = folder / "ports" / str(number)
        port.mkdir(parents=True)
        (port / "state").write_text(f"{state}\n")
        (port / "rate").write_text("400 Gb/sec (4X NDR)\n")
        (port / "link_layer").write_text("InfiniBand\n")


def reachable(root: Path) -> None:
    (root / "dev" / "infiniband").mkdir(parents=True)
    (root / "dev" / "infiniband" / "uverbs0").touch()
