"""All-reduce for PyTorch: groups of ranks, tensors in symmetric memory, and operators.

    group = nvrar_bench.torch.Group()  # of the ranks that torchrun started
    partial = group.allocate((8, 4096), torch.bfloat16)
    torch.mm(hidden, weight, out=partial)
    nvrar_bench.torch.all_reduce_(partial, group)

The operators are `torch.ops.nvrar_bench.all_reduce` and `all_reduce_`, which `torch.compile` takes.
Each has a fake implementation, which refuses what it can when a model is traced.

It is imported by those who ask for it, and needs `pip install 'nvrar-bench[torch]'`.
"""

from __future__ import annotations

from typing import Any

from nvrar_bench import datatypes
from nvrar_bench.errors import Unavailable, UsageError

try:
    import torch
except ImportError:
    raise Unavailable("PyTorch is not installed: pip install 'nvrar-bench[torch]'") from None

from nvrar_bench.torch.group import Group, open_group

__all__ = ["Group", "all_reduce", "all_reduce_"]


def all_reduce(tensor: torch.Tensor, group: Group, op: str = "sum") -> torch.Tensor:
    """Return the sum, or another `op`, over all ranks of `tensor`, as a new tensor.

    The gradient of a sum is the sum of all ranks' gradients, as in torch.distributed.nn.

    Raises:
        UsageError: a tensor or op that the group does not take.
        TimedOut: a peer did not answer in time.
    """
    return torch.ops.nvrar_bench.all_reduce(tensor, group.name, op)


def all_reduce_(tensor: torch.Tensor, group: Group, op: str = "sum") -> torch.Tensor:
    """As `all_reduce`, in place; returns `tensor`. Fastest on one from `Group.allocate`.

    Raises:
        UsageError: as `all_reduce`, and for a tensor that needs a gradient.
        TimedOut: a peer did not answer in time.
    """
    torch.ops.nvrar_bench.all_reduce_(tensor, group.name, op)
    return tensor


def _all_reduce(tensor: torch.Tensor, group: str, op: str) -> torch.Tensor:
    result = torch.empty_like(tensor)
    _accepting(tensor, group, op).reduce(tensor, result, op)
    return result


def _all_reduce_fake(tensor: torch.Tensor, group: str, op: str) -> torch.Tensor:
    _accepting(tensor, group, op)
    return torch.empty_like(tensor)


def _all_reduce_in_place(tensor: torch.Tensor, group: str, op: str) -> None:
    _accepting(tensor, group, op).reduce(tensor, tensor, op)


def _all_reduce_in_place_fake(tensor: torch.Tensor, group: str, op: str) -> None:
    _accepting(tensor, group, op)


def _accepting(tensor: torch.Tensor, name: str, op: str) -> Group:
    """Return the group, which takes the tensor and the op."""
    datatypes.op(op)
    group = open_group(name)
    group.require(tensor)
    return group


def _keep_for_gradient(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ARG001
    _, ctx.group, op = inputs
    if op != "sum":
        raise UsageError(
            f"all_reduce has no gradient for op {op}, and the tensor needs one: use sum, or "
            "torch.inference_mode()"
        )


def _refuse_gradient(ctx: Any, inputs: tuple[Any, ...], output: None) -> None:  # noqa: ARG001
    raise UsageError(
        "all_reduce_ has no gradient, and the tensor needs one: use all_reduce, or "
        "torch.inference_mode()"
    )


def _gradient(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
    summed = torch.ops.nvrar_bench.all_reduce(gradient.contiguous(), ctx.group, "sum")
    return summed, None, None


_new = torch.library.custom_op("nvrar_bench::all_reduce", _all_reduce, mutates_args=())
_new.register_fake(_all_reduce_fake)
_new.register_autograd(_gradient, setup_context=_keep_for_gradient)
_in_place = torch.library.custom_op(
    "nvrar_bench::all_reduce_", _all_reduce_in_place, mutates_args=("tensor",)
)
_in_place.register_fake(_all_reduce_in_place_fake)
# PyTorch calls it where a gradient is needed, and has no public way to say so for an operator that
# writes its argument. Without it the gradient would be that of a tensor that nothing was done to.
_in_place._setup_context_fn = _refuse_gradient
