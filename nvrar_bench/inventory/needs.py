"""What a network needs of a machine, by the names that its file uses; see networks/names.py."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from nvrar_bench.devices.cuda import driver
from nvrar_bench.errors import CompilerError
from nvrar_bench.inventory import network
from nvrar_bench.inventory.probe import Finding, Probe, loaded, missing
from nvrar_bench.problem import Problem, told
from nvrar_bench.toolchain import wheels

_BETWEEN = ("several machines",)
_SYSTEM = Path("/")
_PARAMETERS = "proc/driver/nvidia/params"
_MAPPED = re.compile(r"^RegistryDwords:.*PeerMappingOverride=1", re.MULTILINE)
_NO_PARAMETER_SINCE = (3, 4, 5)  # NVSHMEM: the CPU helps where the GPU may not reach the adapter
_DRIVER_OPTION = (
    'put `options nvidia NVreg_RegistryDwords="PeerMappingOverride=1;"` into '
    "/etc/modprobe.d/nvidia.conf and load the driver again, or install NVSHMEM 3.4.5 or newer"
)
_TRANSPORTS = {  # of NVSHMEM: what its file is called, and what to do without it
    "libfabric": "install an NVSHMEM with libfabric: pip install 'nvidia-nvshmem-cu13>=3.4'",
    "ibrc": "install an NVSHMEM with InfiniBand: pip install 'nvidia-nvshmem-cu13>=3.4'",
    "ibgda": "install an NVSHMEM with IBGDA: pip install 'nvidia-nvshmem-cu13>=3.4'",
}
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


def _adapters(kind: str, what: str, device: str = "/dev/infiniband") -> Looked:
    """The adapters of one network; those that cannot be used do no harm where another can."""
    found = network.kinds().get(kind, [])
    usable = [one for one in found if one.status == "here"]
    if found:
        return usable or found
    seen = ", ".join(network.kinds()) or "none"
    return missing(
        Problem(
            f"there is no {what} adapter here (found: {seen})",
            f"load its driver; in a container, start it with --device={device}",
        )
    )


def _roce() -> Looked:
    found = _adapters("roce", "RoCE")
    if isinstance(found, Finding) or found[0].status != "here" or network.roce_v2():
        return found
    what = "no active port has an address of RoCE v2"
    return Finding("wrong", problem=Problem(what, "give its interface an IP address: ip addr"))


def _interface() -> Looked:
    up = network.interfaces()
    if up:
        return Finding(detail=", ".join(up))
    return missing(Problem("no interface but the loopback is up", "ip link set DEVICE up"))


def _libfabric() -> Looked:
    """The libfabric that this process gets: MPI has loaded its own, and NVSHMEM will get that."""
    try:
        ctypes.CDLL("libfabric.so.1")
    except OSError:
        return missing(Problem("libfabric.so.1 cannot be loaded", _LIBFABRIC_FIX))
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
    try:
        nvshmem = wheels.find_nvshmem(wheels.find().release)
    except CompilerError as error:
        return missing(told(error))
    found = sorted(nvshmem.library.parent.glob(f"nvshmem_transport_{name}.so*"))
    if found:
        return Finding(version=nvshmem.version, path=str(found[0]))
    what = f"NVSHMEM {nvshmem.version} has no transport {name}"
    return missing(Problem(what, _TRANSPORTS[name]))


def _plugin() -> Looked:
    chosen = os.environ.get("NCCL_NET_PLUGIN")
    names = (f"libnccl-net-{chosen}.so", chosen) if chosen else _PLUGINS
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return Finding(detail=name)
    return missing(Problem(f"none of {', '.join(names)} can be loaded", _PLUGIN_FIX))


def _gpu_direct() -> Looked:
    """Whether adapters may reach GPU memory: by a module, or by DMA-BUF of the open driver."""
    if (_SYSTEM / "sys/module/nvidia_peermem").exists():
        return Finding(detail="nvidia_peermem is loaded")
    if "Open Kernel Module" in _text("proc/driver/nvidia/version"):
        return Finding(detail="DMA-BUF, by the open kernel modules of the driver")
    what = "nvidia_peermem is not loaded, and the driver is not of the open kernel modules"
    return missing(Problem(what, "modprobe nvidia-peermem"))


def _ibgda() -> Looked:
    """Whether the GPU can start puts itself."""
    found = _transport("ibgda")
    if not isinstance(found, Finding) or found.status != "here":
        return found
    if _MAPPED.search(_text(_PARAMETERS)):
        return found
    if tuple(map(int, re.findall(r"\d+", found.version or "0")[:3])) >= _NO_PARAMETER_SINCE:
        return Finding(version=found.version, path=found.path, detail="with the help of the CPU")
    what = f"NVSHMEM {found.version} needs PeerMappingOverride=1 of the NVIDIA driver"
    return Finding("wrong", problem=Problem(what, _DRIVER_OPTION))


def _text(path: str) -> str:
    try:
        return (_SYSTEM / path).read_text(errors="replace")
    except OSError:
        return ""


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
    "locked memory": network.locked_memory,
    "libfabric with cxi": _libfabric,
    **_OF_GPUS,
}


def probes(name: str, needs: Sequence[str]) -> tuple[Probe, ...]:
    """A row for each need of the network `name`; those of GPUs only where a driver is."""
    here = [need for need in needs if need not in _OF_GPUS or has_driver()]
    return tuple(Probe(group(name), need, _BETWEEN, LOOKS[need]) for need in here)


def group(name: str) -> str:
    """The title over the rows of a network."""
    return f"what --network {name} needs"


def lacks(need: str) -> str | None:
    """Why this machine does not have `need`; None if it has."""
    rows = Probe("", need, (), LOOKS[need]).take()
    return next((row.problem or row.status for row in rows if row.status != "here"), None)


def has_driver() -> bool:
    """Whether this machine has an NVIDIA driver, asked without loading it."""
    return driver.kernel_module() is not None
