"""Networks between machines: the adapters that the kernel lists, and what a network needs."""

from __future__ import annotations

import ctypes
import os
import re
import resource
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nvrar_bench.devices.cuda import driver
from nvrar_bench.errors import Problem
from nvrar_bench.inventory import Finding, Probe, group, loaded, missing
from nvrar_bench.toolchain import wheels

_BETWEEN = ("several machines",)
_ADAPTERS = Path("/sys/class/infiniband")
_SLINGSHOT = Path("/sys/class/cxi")
_DEVICES = Path("/dev")
_INTERFACES = Path("/sys/class/net")
_ACTIVE = "ACTIVE"
_LOOPBACK = "772"  # ARPHRD_LOOPBACK
_KINDS = {"InfiniBand": "infiniband", "Ethernet": "roce"}  # by link layer
_SYSTEM = Path("/")
_PARAMETERS = "proc/driver/nvidia/params"
_MAPPED = re.compile(r"^RegistryDwords:.*PeerMappingOverride=1", re.MULTILINE)
_NO_PARAMETER_SINCE = (3, 4, 5)  # NVSHMEM: the CPU helps where the GPU may not reach the adapter
_DRIVER_OPTION = (
    'put `options nvidia NVreg_RegistryDwords="PeerMappingOverride=1;"` into '
    "/etc/modprobe.d/nvidia.conf and load the driver again, or install NVSHMEM 3.4.5 or newer"
)
_TRANSPORTS = {"libfabric": "libfabric", "ibrc": "InfiniBand", "ibgda": "IBGDA"}  # of NVSHMEM
_PLUGINS = ("libnccl-net-ofi.so", "libnccl-net.so")
_PLUGIN_FIX = (
    "put aws-ofi-nccl, built against the system's libfabric, on LD_LIBRARY_PATH (module load "
    "aws-ofi-nccl); without it NCCL goes over TCP"
)
_LIBFABRIC_FIX = (
    "put the system's libfabric first on LD_LIBRARY_PATH (module load libfabric), or use the "
    "system's MPI"
)

Looked = Finding | Sequence[Finding]


def _networks() -> Finding | list[Finding]:
    found = [_adapter(folder) for folder in _folders(_ADAPTERS)]
    found += [_cassini(folder.name) for folder in _folders(_SLINGSHOT)]
    if found:
        return found
    return missing(
        f"no InfiniBand, RoCE or Slingshot adapter ({_ADAPTERS} and {_SLINGSHOT} have none)",
        "load the adapter's driver; in a container, start it with --device=/dev/infiniband",
    )


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
    return [
        interface(folder.name)
        for folder in _folders(_INTERFACES)
        if _read(folder / "type") != _LOOPBACK and _read(folder / "carrier") == "1"
    ]


def interface(name: str) -> str:
    """A network interface with its speed, where it has one."""
    speed = _read(_INTERFACES / name / "speed")
    return f"{name} {speed} Mbit/s" if speed.isdigit() else name


def _folders(root: Path) -> list[Path]:
    return sorted(root.iterdir()) if root.is_dir() else []


def _adapter(folder: Path) -> Finding:
    ports = _folders(folder / "ports")
    states = [_state(port) for port in ports]
    detail = "; ".join(map(_port, ports, states))
    return Finding(
        version=_read(folder / "hca_type") or None,
        detail=detail or None,
        path=str(folder),
        problem=_adapter_problem(folder, states),
        name=folder.name,
    )


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


# ---- what a network needs ----------------------------------------------------------------------


def _adapters(kind: str, what: str, device: str = "/dev/infiniband") -> Looked:
    """The adapters of one network; those that cannot be used do no harm where another can."""
    found = kinds().get(kind, [])
    # One adapter that works is enough to run; the others have rows of their own.
    usable = [one for one in found if one.status == "here"]
    if found:
        return usable or found
    seen = ", ".join(kinds()) or "none"
    return missing(
        f"there is no {what} adapter here (found: {seen})",
        f"load its driver; in a container, start it with --device={device}",
    )


def _roce() -> Looked:
    found = _adapters("roce", "RoCE")
    if isinstance(found, Finding) or found[0].status != "here" or roce_v2():
        return found
    what = "no active port has an address of RoCE v2"
    return Finding("wrong", problem=Problem(what, "give its interface an IP address: ip addr"))


def _interface() -> Looked:
    up = interfaces()
    if up:
        return Finding(detail=", ".join(up))
    return missing("no interface but the loopback is up", "ip link set DEVICE up")


def _libfabric() -> Looked:
    """The libfabric that this process gets: MPI has loaded its own, and NVSHMEM will get that."""
    try:
        ctypes.CDLL("libfabric.so.1")
    except OSError:
        return missing("libfabric.so.1 cannot be loaded", _LIBFABRIC_FIX)
    path = Path(loaded("libfabric") or "libfabric.so.1")
    if has_cxi(path):
        return Finding(path=str(path))
    what = "this libfabric has no provider cxi"
    return Finding("wrong", path=str(path), problem=Problem(what, _LIBFABRIC_FIX))


def has_cxi(libfabric: Path) -> bool:
    """Whether a libfabric has the provider, built in, which links libcxi, or in a file beside."""
    beside = libfabric.parent / "libfabric" / "libcxi-fi.so"
    return beside.exists() or (libfabric.is_file() and b"libcxi.so" in libfabric.read_bytes())


def _transport(name: str) -> Looked:
    nvshmem = wheels.find_nvshmem(wheels.find().release)
    found = sorted(nvshmem.library.parent.glob(f"nvshmem_transport_{name}.so*"))
    if found:
        return Finding(version=nvshmem.version, path=str(found[0]))
    return missing(
        f"NVSHMEM {nvshmem.version} has no transport {name}",
        f"install an NVSHMEM with {_TRANSPORTS[name]}: pip install 'nvidia-nvshmem-cu13>=3.4'",
    )


def _plugin() -> Looked:
    chosen = os.environ.get("NCCL_NET_PLUGIN")
    names = (f"libnccl-net-{chosen}.so", chosen) if chosen else _PLUGINS
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return Finding(detail=name)
    return missing(f"none of {', '.join(names)} can be loaded", _PLUGIN_FIX)


def _gpu_direct() -> Looked:
    """Whether adapters may reach GPU memory: by a module, or by DMA-BUF of the open driver."""
    if (_SYSTEM / "sys/module/nvidia_peermem").exists():
        return Finding(detail="nvidia_peermem is loaded")
    if "Open Kernel Module" in _read(_SYSTEM / "proc/driver/nvidia/version"):
        return Finding(detail="DMA-BUF, by the open kernel modules of the driver")
    return missing(
        "nvidia_peermem is not loaded, and the driver is not of the open kernel modules",
        "modprobe nvidia-peermem",
    )


def _ibgda() -> Looked:
    """Whether the GPU can start puts itself."""
    found = _transport("ibgda")
    if not isinstance(found, Finding) or found.status != "here":
        return found
    if _MAPPED.search(_read(_SYSTEM / _PARAMETERS)):
        return found
    if tuple(map(int, re.findall(r"\d+", found.version or "0")[:3])) >= _NO_PARAMETER_SINCE:
        return Finding(version=found.version, path=found.path, detail="with the help of the CPU")
    what = f"NVSHMEM {found.version} needs PeerMappingOverride=1 of the NVIDIA driver"
    return Finding("wrong", problem=Problem(what, _DRIVER_OPTION))


# GPUs alone want these: a machine without an NVIDIA driver does without.
_OF_GPUS: dict[str, Callable[[], Looked]] = {
    "NVSHMEM over libfabric": partial(_transport, "libfabric"),
    "NVSHMEM over InfiniBand": partial(_transport, "ibrc"),
    "NCCL's libfabric plugin": _plugin,
    "GPUDirect RDMA": _gpu_direct,
    "IBGDA": _ibgda,
}
LOOKS: dict[str, Callable[[], Looked]] = {
    "Slingshot adapter": partial(_adapters, "slingshot", "Slingshot", "/dev/cxi0"),
    "InfiniBand adapter": partial(_adapters, "infiniband", "InfiniBand"),
    "RoCE adapter": _roce,
    "network interface": _interface,
    "locked memory": locked_memory,
    "libfabric with cxi": _libfabric,
    **_OF_GPUS,
}


def probes(name: str, needs: Sequence[str]) -> tuple[Probe, ...]:
    """A row for each need of the network `name`; those of GPUs only where a driver is."""
    here = [need for need in needs if need not in _OF_GPUS or has_driver()]
    return tuple(_probe(group(name), need) for need in here)


def _probe(group: str, need: str) -> Probe:
    return Probe(group, need, _BETWEEN, LOOKS[need], refused="missing")


def lacks(need: str) -> str | None:
    """Why this machine does not have `need`; None if it has."""
    rows = _probe("", need).take()
    return next((row.problem or row.status for row in rows if row.status != "here"), None)


def has_driver() -> bool:
    """Whether this machine has an NVIDIA driver, asked without loading it."""
    return driver.kernel_module() is not None


PROBES = (
    Probe("network", "adapters", _BETWEEN, _networks),
    Probe("network", "locked memory", _BETWEEN, locked_memory),
)
