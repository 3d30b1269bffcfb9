"""Names that the file of a network may use."""

from __future__ import annotations

LIBRARIES = ("NVSHMEM", "NCCL", "MPI")
ON_DEVICE = {"cpu": ("MPI",)}  # that take part in a run; on other devices all do
# In the order in which --network auto looks; a machine may have several.
FOUND_BY = ("slingshot", "infiniband", "roce")
ADAPTERS = (*FOUND_BY, "none")
# What a machine may have; inventory/needs.py looks.
NEEDS = (
    "Slingshot adapter", "InfiniBand adapter", "RoCE adapter", "network interface",
    "locked memory", "libfabric with cxi",
    "NVSHMEM over libfabric", "NVSHMEM over InfiniBand", "NCCL's libfabric plugin",
    "GPUDirect RDMA", "IBGDA",
)  # fmt: skip
