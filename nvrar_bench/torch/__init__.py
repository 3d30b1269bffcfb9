"""All-reduce for PyTorch: groups of ranks, tensors in symmetric memory, and operators.

    group = nvrar_bench.torch.Group()  # of the ranks that torchrun started
    partial = group.allocate((8, 4096), torch.bfloat16)
    torch.mm(hidden, weight, out=partial)
    nvrar_bench.torch.all_reduce_(partial, group)

It is imported by those who ask for it, and needs `pip install 'nvrar-bench[torch]'`.
"""

from __future__ import annotations

from nvrar_bench.errors import Unavailable

try:
    import torch  # noqa: F401
except ImportError:
    raise Unavailable("PyTorch is not installed: pip install 'nvrar-bench[torch]'") from None

from nvrar_bench.torch.group import Group
from nvrar_bench.torch.operators import all_reduce, all_reduce_

__all__ = ["Group", "all_reduce", "all_reduce_"]
