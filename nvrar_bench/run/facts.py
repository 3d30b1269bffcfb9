"""Facts about where a run ran, for the record: an allow-list, never the whole environment."""

from __future__ import annotations

import platform
from collections import Counter
from importlib.metadata import version
from typing import Any

import nvrar_bench
from nvrar_bench.devices.base import Device
from nvrar_bench.devices.machine import cpu_model
from nvrar_bench.documents.record import RankPlace, Topology
from nvrar_bench.documents.tuning import MadeOn
from nvrar_bench.errors import CompilerError
from nvrar_bench.files import installed
from nvrar_bench.toolchain import host
from nvrar_bench.toolchain.kernel import kernels_dir, sources_digest
from nvrar_bench.world import World, library_version

# Of the cuda device, as far as they are installed.
_CUDA_PACKAGES = (
    *("cuda-bindings", "cuda-core", "nccl4py", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"),
    *("nvidia-nccl-cu12", "nvidia-nccl-cu13", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
    *("nvidia-nvshmem-cu12", "nvidia-nvshmem-cu13", "nvshmem4py-cu12", "nvshmem4py-cu13"),
)
_PACKAGES = ("mpi4py", "numpy", "ml_dtypes", "nvidia-cuda-runtime", "nvidia-cuda-cccl")


def topology(world: World, device: str) -> Topology:
    """The world as the record describes it."""
    places, ranks_of = [], Counter[int]()
    for rank, (name, node) in enumerate(zip(world.hosts, world.node_of, strict=True)):
        places.append(RankPlace(rank, name, node, ranks_of[node], device))
        ranks_of[node] += 1
    kind = world.virtual_nodes
    return Topology(world.size, world.nodes, world.ranks_per_node, kind, tuple(places))


def environment(world: World) -> dict[str, Any]:
    """What a reader needs to judge a number: machine, libraries, compiler, kernel sources."""
    return {
        "host": world.host,
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": world.cores,
        "oversubscribed": world.oversubscribed,
        "mpi_library": library_version(),
        "compiler": _compiler(),
        "kernels_sha256": sources_digest(kernels_dir()),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "cuda_packages": _cuda_packages(),
    }


def made_on(world: World, device: Device) -> MadeOn:
    """Where a tuning table is made."""
    model, _ = device.processor
    libraries = {"mpi_library": library_version(), "compiler": _compiler()}
    libraries |= _cuda_packages()
    hosts = tuple(dict.fromkeys(world.hosts))
    path = between_machines() if world.machines > 1 else None
    return MadeOn(model, hosts, sources_digest(kernels_dir()), libraries, path)


def between_machines() -> str | None:
    """What carries messages between machines, as this rank sees it."""
    # Here: it loads psutil, and hundreds of ranks of one machine have no use for it.
    from nvrar_bench.run.crossing import crossing

    return crossing()


def _cuda_packages() -> dict[str, str]:
    return {name: found for name in _CUDA_PACKAGES if (found := installed(name))}


def _compiler() -> str:
    try:
        return host.compiler().version()
    except CompilerError as error:
        return str(error)


def must_agree(settings: dict[str, Any]) -> dict[str, Any]:
    """What must be the same on all ranks of a run, under the names that an error gives it."""
    return {
        "the version of nvrar-bench": nvrar_bench.__version__,
        "the kernel sources": sources_digest(kernels_dir())[:12],
        **{f"the argument {name}": value for name, value in settings.items()},
    }
