"""Groups and operators on ranks of torchrun; rank 0 prints what went wrong on each, by subject."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import nvrar_bench.torch as nvrar
from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.torch import meeting

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pytorch.md"
DTYPES = (
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.int64,
)  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    everyone: list[Any] = [None] * dist.get_world_size()
    with nvrar.Group(nodes=2) as group:
        found = {check.__name__: check(group) for check in WITH_GROUP}
    found |= {check.__name__: check() for check in ALONE}
    found["mpi"] = [name for name in sys.modules if name == "mpi4py.MPI"]
    dist.all_gather_object(everyone, found)
    if dist.get_rank() == 0:
        json.dump(everyone, sys.stdout)
    dist.destroy_process_group()


def numbers(dtype: torch.dtype, rank: int) -> torch.Tensor:
    """Small integers, so that every order of addition gives the same."""
    return (torch.arange(77) % 11 + rank).to(dtype).view(7, 11)


def total(dtype: torch.dtype, ranks: range) -> torch.Tensor:
    return torch.stack([numbers(dtype, rank) for rank in ranks]).sum(0).to(dtype)


def sums(group: nvrar.Group) -> list[str]:
    wrong = []
    for dtype in DTYPES:
        mine = numbers(dtype, dist.get_rank())
        symmetric = group.allocate((7, 11), dtype)
        symmetric.copy_(mine)
        want = total(dtype, range(dist.get_world_size()))
        in_place = nvrar.all_reduce_(symmetric, group)
        if not torch.equal(nvrar.all_reduce(mine, group), want):
            wrong.append(f"{dtype}, new")
        if not (torch.equal(in_place, want) and in_place is symmetric):
            wrong.append(f"{dtype}, in place")
        if not torch.equal(mine, numbers(dtype, dist.get_rank())):
            wrong.append(f"{dtype}: what is sent was changed")
    return wrong


def rows_of_a_symmetric_tensor(group: nvrar.Group) -> list[str]:
    """As the first tokens of a batch: the rest stays as it is."""
    whole = group.allocate((4, 11))
    whole.fill_(dist.get_rank())
    nvrar.all_reduce_(whole[:2], group)
    n = dist.get_world_size()
    good = (whole[:2] == n * (n - 1) / 2).all() and (whole[2:] == dist.get_rank()).all()
    return [] if good else [str(whole)]


def gradients(group: nvrar.Group) -> list[str]:
    """Of a loss that each rank weighs with its number: the sum of these."""
    mine = torch.ones(5, requires_grad=True)
    (nvrar.all_reduce(mine, group) * dist.get_rank()).sum().backward()
    n = dist.get_world_size()
    return [] if (mine.grad == n * (n - 1) / 2).all() else [str(mine.grad)]


def the_layer_of_the_documentation(group: nvrar.Group) -> list[str]:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(program, names)
    rank, size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(1)
    weight, hidden = torch.randn(5, 8 * size), torch.randn(3, 8 * size)
    layer = names["RowParallelLinear"](weight.chunk(size, 1)[rank], 4, group)
    seen = layer(hidden.chunk(size, 1)[rank])
    return [] if torch.allclose(seen, hidden @ weight.T, atol=1e-4) else [str(seen)]


def halves() -> list[str]:
    """Two groups at once, of half the ranks each."""
    rank, half = dist.get_rank(), dist.get_world_size() // 2
    first, second = dist.new_group(range(half)), dist.new_group(range(half, 2 * half))
    mine = range(half) if rank < half else range(half, 2 * half)
    with nvrar.Group(first if rank < half else second) as group:
        seen = nvrar.all_reduce(numbers(torch.float32, rank), group)
    return [] if torch.equal(seen, total(torch.float32, mine)) else [str(seen)]


def several_machines() -> list[str]:
    """Two of them with two ranks each, as far as one machine can show that."""
    real, rank = meeting._machine, dist.get_rank()
    meeting._machine = lambda: (f"host{rank // 2}", "")
    try:
        met = meeting.Meeting(None, "nvrar", "cuda")
        world, refused = met.world, refusal(nvrar.Group)
    finally:
        meeting._machine = real
    seen = [world.machines, world.node_of, world.local_rank, world.on_host_leader(lambda: rank)]
    met.close()
    if seen != [2, (0, 0, 1, 1), rank % 2, rank // 2 * 2]:
        return [str(seen)]
    expected = "these ranks are on 2 machines, and between machines CPU ranks use MPI: start them "
    return [] if refused.startswith(expected) else [refused]


def refusal(action: Any) -> str:
    try:
        action()
    except NvrarBenchError as error:
        return str(error)
    return "not refused"


WITH_GROUP = (sums, rows_of_a_symmetric_tensor, gradients, the_layer_of_the_documentation)
ALONE = (halves, several_machines)

if __name__ == "__main__":
    main()
