"""Networks between machines, as the kernel lists them: InfiniBand and RoCE, Slingshot."""

from __future__ import annotations

import resource
from pathlib import Path

from nvrar_bench.inventory.probe import Finding, Probe, missing
from nvrar_bench.problem import Problem

_BETWEEN = ("several machines",)
_ADAPTERS = Path("/sys/class/infiniband")
_SLINGSHOT = Path("/sys/class/cxi")
_DEVICES = Path("/dev")
_INTERFACES = Path("/sys/class/net")
_ACTIVE = "ACTIVE"
_LOOPBACK = "772"  # ARPHRD_LOOPBACK
_KINDS = {"InfiniBand": "infiniband", "Ethernet": "roce"}  # by link layer


def _networks() -> Finding | list[Finding]:
    found = [_adapter(folder) for folder in _folders(_ADAPTERS)]
    found += [_cassini(folder.name) for folder in _folders(_SLINGSHOT)]
    if found:
        return found
    what = f"no InfiniBand, RoCE or Slingshot adapter ({_ADAPTERS} and {_SLINGSHOT} have none)"
    fix = "load the adapter's driver; in a container, start it with --device=/dev/infiniband"
    return missing(Problem(what, fix))


def kinds() -> dict[str, list[Finding]]:
    """The adapters of this machine by the network that they are for; those in use, and others."""
    found: dict[str, list[Finding]] = {}
    for folder in _folders(_SLINGSHOT):
        found.setdefault("slingshot", []).append(_cassini(folder.name))
    for folder in _folders(_ADAPTERS):
        kind = _KINDS.get(_layer(folder))
        if kind:
            found.setdefault(kind, []).append(_adapter(folder))
    return found


def _layer(folder: Path) -> str:
    """The link layer of an adapter's first port that is active, or else of its first."""
    ports = sorted(_folders(folder / "ports"), key=lambda port: not _is_active(port))
    return _read(ports[0] / "link_layer") if ports else ""


def _is_active(port: Path) -> bool:
    return _state(port) == _ACTIVE


def _state(port: Path) -> str:
    return _read(port / "state").rpartition(":")[2].strip()


def roce_v2() -> list[Path]:
    """The entries of all active ports' tables of addresses that are of RoCE v2."""
    types = _ADAPTERS.glob("*/ports/*/gid_attrs/types/*")
    return [one for one in sorted(types) if _read(one) == "RoCE v2" and _is_active(one.parents[2])]


def interfaces() -> list[str]:
    """The network interfaces that are up, less the loopback, with their speed."""
    found = []
    for folder in _folders(_INTERFACES):
        if _read(folder / "type") != _LOOPBACK and _read(folder / "carrier") == "1":
            speed = _read(folder / "speed")
            found.append(f"{folder.name} {speed} Mbit/s" if speed.isdigit() else folder.name)
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(root.iterdir()) if root.is_dir() else []


def _adapter(folder: Path) -> Finding:
    ports = _folders(folder / "ports")
    states = [_state(port) for port in ports]
    detail = "; ".join(map(_port, ports, states))
    return Finding(
        status="wrong" if (problem := _adapter_problem(folder, states)) else "here",
        version=_read(folder / "hca_type") or None, detail=detail or None, path=str(folder),
        problem=problem, name=folder.name,
    )  # fmt: skip


def _port(folder: Path, state: str) -> str:
    layer, rate = _read(folder / "link_layer"), _read(folder / "rate")
    return f"port {folder.name} {state} {layer} {rate}"


def _adapter_problem(folder: Path, states: list[str]) -> Problem | None:
    if _ACTIVE not in states:
        return Problem("no port is active", f"ibstat {folder.name} shows why")
    if not any((_DEVICES / "infiniband").glob("uverbs*")):
        what = f"{_DEVICES}/infiniband has no uverbs: programs cannot reach the adapter"
        return Problem(what, "in a container, start it with --device=/dev/infiniband")
    return None


def _cassini(name: str) -> Finding:
    """A Slingshot adapter."""
    path = str(_DEVICES / name)
    if not (_DEVICES / name).exists():
        problem = Problem(f"there is no {path}", f"in a container, start it with --device={path}")
        return Finding("wrong", version="Slingshot", problem=problem, name=name)
    return Finding(version="Slingshot", path=path, name=name)


def locked_memory() -> Finding | list[Finding]:
    """Adapters reach locked memory alone; without an adapter it does not matter."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if not (_folders(_ADAPTERS) or _folders(_SLINGSHOT)):
        return []
    if limit == resource.RLIM_INFINITY:
        return Finding(version="unlimited")
    problem = Problem(
        f"at most {limit >> 10} KiB may be locked, and adapters reach locked memory alone",
        "ulimit -l unlimited; in a container, start it with --ulimit memlock=-1",
    )
    return Finding("wrong", problem=problem)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


PROBES = (
    Probe("network", "adapters", _BETWEEN, _networks),
    Probe("network", "locked memory", _BETWEEN, locked_memory),
)
