"""The report on kernels that were built."""

from __future__ import annotations

import json
from io import StringIO

from rich.console import Console

from nvrar_bench import __version__
from nvrar_bench.report import compiled
from nvrar_bench.toolchain.kernel import Elements, Kernel
from nvrar_bench.toolchain.product import BuildOrder, Delivery
from nvrar_bench.toolchain.resource_usage import ResourceUsage

PACKET = Delivery(
    BuildOrder("sm_90", Kernel("float32", "sum", "packet", "nvshmem", 256)),
    ResourceUsage(255, 16, 24, 608, 0, 1216, 687696),
    seconds=2.3456,
    cached=False,
)
SIGNAL = Delivery(
    BuildOrder("sm_100", Kernel("bfloat16", "avg", "signal", "loopback", 512)),
    ResourceUsage(64, 0, 0, 8, 1024, 928, 99000),
    seconds=0.0004,
    cached=True,
)
REPORT = {"nvrtc": "13.5", "nvshmem": "3.8.0"}, (PACKET, SIGNAL)

PLAIN = f"""\
# nvrar-bench {__version__}
# compiler: nvrtc 13.5, nvshmem 3.8.0
#
# 2 kernels, 1 of them cached, 1 with spills; bytes
#   arch                            kernel  registers  spill stores  spill loads  stack  shared  constant   cubin  seconds
   sm_90    float32-sum-packet-nvshmem-256        255            16           24    608       0      1216  687696      2.3
  sm_100  bfloat16-avg-signal-loopback-512         64             0            0      8    1024       928   99000   cached
"""  # noqa: E501


def written(terminal: bool, width: int = 400) -> str:
    file = StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, _environ={})
    compiled.write_table(*REPORT, console)
    return file.getvalue()


def test_plain_text():
    assert written(terminal=False) == PLAIN


def test_a_terminal():
    lines = written(terminal=True, width=200).splitlines()
    assert lines[:2] == [f"# nvrar-bench {__version__}", "# compiler: nvrtc 13.5, nvshmem 3.8.0"]
    (row,) = (line for line in lines if "bfloat16" in line)
    assert row.split() == [
        "sm_100", "bfloat16-avg-signal-loopback-512", "64", "0", "0", "8", "1024", "928", "99000",
        "cached",
    ]  # fmt: skip


def test_json():
    document = json.loads(compiled.encode(*REPORT))
    assert document["format"] == "nvrar-bench.compile"
    assert document["format_version"] == "1.3"
    assert document["version"] == __version__
    assert document["compiler"] == {"nvrtc": "13.5", "nvshmem": "3.8.0"}
    assert document["kernels"][0] == {
        "arch": "sm_90", "name": "float32-sum-packet-nvshmem-256", "fabric": "nvshmem",
        "protocol": "packet", "dtype": "float32", "op": "sum", "launch_class": 256,
        "exchange": "doubling", "ranks_per_node": 0, "radix": 0,
        "registers": 255, "spill_store_bytes": 16, "spill_load_bytes": 24, "stack_bytes": 608,
        "shared_bytes": 0, "constant_bytes": 1216, "cubin_bytes": 687696, "seconds": 2.346,
        "cached": False,
    }  # fmt: skip
    assert [kernel["cached"] for kernel in document["kernels"]] == [False, True]


def test_a_module_of_several_kernels_has_a_type_alone():
    elements = Delivery(BuildOrder("sm_90", Elements("int8")), PACKET.usage, 1.0, cached=False)
    (one,) = json.loads(compiled.encode({}, (elements,)))["kernels"]
    assert one["name"] == "elements-int8"
    assert [one[name] for name in ("fabric", "protocol", "dtype", "op")] == [
        None, None, "int8", None,
    ]  # fmt: skip
