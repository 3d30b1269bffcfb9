"""A tensor-parallel MLP as in Llama: every rank has a share of the units, NVRAR adds the results.

torchrun --standalone --nproc-per-node 2 examples/tensor_parallel_mlp.py
"""

from __future__ import annotations

import statistics
import time

import torch
import torch.distributed as dist
from torch.nn.functional import linear, silu

import nvrar_bench.torch as nvrar

BATCH, HIDDEN, UNITS, CALLS = 8, 1024, 4096, 50


class TensorParallelMLP(torch.nn.Module):
    """Weights have one row per output, as those of torch.nn.Linear."""

    def __init__(self, gate, up, down, group: nvrar.Group) -> None:
        super().__init__()
        rank, ranks = dist.get_rank(), dist.get_world_size()
        self.gate, self.up = gate.chunk(ranks)[rank], up.chunk(ranks)[rank]
        self.down = down.chunk(ranks, dim=1)[rank].T.contiguous()
        self.group, self.partial = group, group.allocate((BATCH, len(down)), down.dtype)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The result lies in symmetric memory, and the next call overwrites it."""
        units = silu(linear(hidden, self.gate)) * linear(hidden, self.up)
        partial = torch.mm(units, self.down, out=self.partial[: len(hidden)])
        return nvrar.all_reduce_(partial, self.group)


def median_us(call) -> float:
    """Of this rank; the first calls are not counted, which build the kernel."""
    times = []
    for _ in range(CALLS):
        dist.barrier()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[5:]) * 1e6


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)  # the same weights on every rank
    gate, up = torch.randn(2, UNITS, HIDDEN) / HIDDEN**0.5
    down, hidden = torch.randn(HIDDEN, UNITS) / UNITS**0.5, torch.randn(BATCH, HIDDEN)
    whole = linear(silu(linear(hidden, gate)) * linear(hidden, up), down)

    dist.init_process_group("gloo")
    with nvrar.Group() as group:
        mlp = TensorParallelMLP(gate, up, down, group)
        torch.testing.assert_close(mlp(hidden), whole)
        by_nvrar = median_us(lambda: nvrar.all_reduce_(mlp.partial, group))
        by_gloo = median_us(lambda: dist.all_reduce(mlp.partial))
        layer = median_us(lambda: mlp(hidden))
    if dist.get_rank() == 0:
        print(f"{dist.get_world_size()} ranks: the result of one rank alone, within rounding")
        print(f"layer {layer:.0f} us; all-reduce: NVRAR {by_nvrar:.0f} us, gloo {by_gloo:.0f} us")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
