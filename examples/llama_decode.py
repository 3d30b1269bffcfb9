"""Greedy decoding by a small Llama-style model with random weights, tensor-parallel over ranks.

torchrun --standalone --nproc-per-node 2 examples/llama_decode.py     # torch.distributed and NVRAR
mpirun -n 2 python examples/llama_decode.py                           # MPI and NVRAR

With --device cuda each rank has a GPU. Ranks that share one show that the tokens are right, not how
fast they come.

Every rank first decodes alone, with all weights; then the ranks decode together, once with each
all-reduce. The tokens must be the same. Sums in another order differ in rounding, which could
change a token where two logits are nearly equal: the program checks that none were.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.nn.functional import linear, rms_norm, scaled_dot_product_attention, silu

import nvrar_bench.torch as nvrar

LAYERS, HIDDEN, HEADS, KV_HEADS, UNITS, VOCABULARY = 4, 256, 8, 4, 704, 1000
HEAD, BATCH, TOKENS = HIDDEN // HEADS, 4, 32
BY_ROWS, BY_COLUMNS = ("q", "k", "v", "gate", "up"), ("o", "down")  # how ranks share weights


class Ranks(NamedTuple):
    """Who takes part, and how they add what each of them has; in place."""

    name: str
    rank: int
    size: int
    empty: Callable[..., torch.Tensor]
    add: Callable[[torch.Tensor], object]


ALONE = Ranks("one rank alone", 0, 1, torch.empty, lambda _: None)


def random_weights() -> dict[str, torch.Tensor]:
    """All weights of the model: the same on every rank, whoever needs which of them."""
    shapes = {
        "q": (HEADS * HEAD, HIDDEN), "k": (KV_HEADS * HEAD, HIDDEN), "v": (KV_HEADS * HEAD, HIDDEN),
        "o": (HIDDEN, HEADS * HEAD), "gate": (UNITS, HIDDEN), "up": (UNITS, HIDDEN),
        "down": (HIDDEN, UNITS),
    }  # fmt: skip
    torch.manual_seed(1)
    weights = {"in": torch.randn(VOCABULARY, HIDDEN), "out": torch.randn(VOCABULARY, HIDDEN)}
    for name, shape in shapes.items():
        weights[name] = torch.randn(LAYERS, *shape) / shape[1] ** 0.5
    return weights


class Model:
    """What one rank holds: its heads, its part of the MLP, its KV cache; embeddings are whole."""

    def __init__(self, weights: dict[str, torch.Tensor], ranks: Ranks) -> None:
        self.ranks, self.weights = ranks, dict(weights)
        for names, dim in ((BY_ROWS, 1), (BY_COLUMNS, 2)):
            for name in names:
                self.weights[name] = weights[name].chunk(ranks.size, dim)[ranks.rank].contiguous()
        self.cache = torch.zeros(2, LAYERS, BATCH, KV_HEADS // ranks.size, TOKENS, HEAD)
        self.partial = ranks.empty((BATCH, HIDDEN))
        angles = torch.outer(torch.arange(TOKENS), 10000.0 ** (-torch.arange(0, HEAD, 2) / HEAD))
        self.turns = torch.polar(torch.ones_like(angles), angles)

    def step(self, tokens: torch.Tensor, position: int) -> torch.Tensor:
        """Return the logits behind the tokens at `position`, one of each sequence."""
        hidden = self.weights["in"][tokens]
        for layer in range(LAYERS):
            weights = {name: self.weights[name][layer] for name in BY_ROWS + BY_COLUMNS}
            seen = self.attend(weights, layer, rms_norm(hidden, (HIDDEN,)), position)
            hidden = hidden + self.add_up(seen, weights["o"])
            normed = rms_norm(hidden, (HIDDEN,))
            units = silu(linear(normed, weights["gate"])) * linear(normed, weights["up"])
            hidden = hidden + self.add_up(units, weights["down"])
        return linear(rms_norm(hidden, (HIDDEN,)), self.weights["out"])

    def attend(self, weights, layer: int, normed: torch.Tensor, position: int) -> torch.Tensor:
        """Attention of this rank's heads, each pair of which shares keys and values (GQA)."""
        q, k, v = (linear(normed, weights[name]).view(BATCH, -1, HEAD) for name in "qkv")
        keys, values = self.cache[:, layer]
        keys[:, :, position], values[:, :, position] = self.rotate(k, position), v
        query, now = self.rotate(q, position).unsqueeze(2), position + 1
        seen = scaled_dot_product_attention(
            query, keys[:, :, :now], values[:, :, :now], enable_gqa=True
        )
        return seen.reshape(BATCH, -1)

    def rotate(self, heads: torch.Tensor, position: int) -> torch.Tensor:
        """Rotary position embedding: pairs of numbers are turned by angles."""
        pairs = torch.view_as_complex(heads.view(BATCH, -1, HEAD // 2, 2))
        return torch.view_as_real(pairs * self.turns[position]).flatten(2)

    def add_up(self, shares: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The one place where ranks meet: multiply into shared memory, and add over the ranks."""
        torch.mm(shares, weight.T, out=self.partial)
        self.ranks.add(self.partial)
        return self.partial


def decode(model: Model) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return tokens and logits of every step, and seconds per step."""
    tokens, all_logits = torch.arange(BATCH), []
    wait_for_gpu(tokens)
    start = time.perf_counter()
    for position in range(TOKENS):
        logits = model.step(tokens, position)
        tokens = logits.argmax(-1)
        all_logits.append(logits)
    wait_for_gpu(tokens)
    seconds = (time.perf_counter() - start) / TOKENS
    steps = torch.stack(all_logits)
    return steps.argmax(-1), steps, seconds


def wait_for_gpu(tokens: torch.Tensor) -> None:
    """Until all that was queued there has run."""
    if tokens.is_cuda:
        torch.cuda.synchronize()


def take_gpu(rank: int, ranks: int) -> dict[str, Any]:
    """Choose a GPU for this one of the machine's ranks; return what a group has to know."""
    if not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no GPU here")
    gpus = torch.cuda.device_count()
    torch.cuda.set_device(rank % gpus)
    return {"device": "cuda", "share_gpu": ranks > gpus}


def teams_of_torchrun(stack: ExitStack, device: str) -> list[Ranks]:
    local = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    options = take_gpu(*local) if device == "cuda" else {}
    # PyTorch's NCCL wants a GPU for each rank; gloo takes GPU tensors, too, and copies them.
    library = "nccl" if options and not options["share_gpu"] else "gloo"
    dist.init_process_group(library)
    stack.callback(dist.destroy_process_group)
    rank, size = dist.get_rank(), dist.get_world_size()
    group = stack.enter_context(nvrar.Group(**options))
    return [
        Ranks(f"torch.distributed {library}", rank, size, torch.empty, dist.all_reduce),
        Ranks("nvrar", rank, size, group.allocate, lambda x: nvrar.all_reduce_(x, group)),
    ]


def teams_of_mpirun(stack: ExitStack, device: str) -> list[Ranks]:
    from mpi4py import MPI

    teams, comm = [], MPI.COMM_WORLD
    here = comm.Split_type(MPI.COMM_TYPE_SHARED)
    options = take_gpu(here.rank, here.size) if device == "cuda" else {}
    for name in ("mpi", "nvrar"):
        group = stack.enter_context(nvrar.Group(comm, backend=name, **options))
        add = lambda x, group=group: nvrar.all_reduce_(x, group)  # noqa: E731
        teams.append(Ranks(name, comm.rank, comm.size, group.allocate, add))
    return teams


@torch.inference_mode()
def compare(teams: list[Ranks]) -> None:
    weights, is_first = random_weights(), teams[0].rank == 0
    tokens, logits, _ = decode(Model(weights, ALONE))
    best = logits.topk(2).values
    margin = float((best[..., 0] - best[..., 1]).min())
    for team in (ALONE, *teams):
        model = Model(weights, team)
        decode(model)  # the first call builds the kernel
        its_tokens, its_logits, seconds = decode(model)
        rounding = float((its_logits - logits).abs().max())
        if not (torch.equal(its_tokens, tokens) and 2 * rounding < margin):
            raise SystemExit(f"{team.name}: logits differ by {rounding:.1e}, margin {margin:.1e}")
        if is_first:
            print(f"{team.name}: {seconds * 1e6:.0f} us per token, rounding {rounding:.1e}")
    if is_first:
        print(f"{teams[0].size} ranks, the same {tokens.numel()} tokens; least margin {margin:.1e}")


def main() -> None:
    options = argparse.ArgumentParser(description="Decodes the same tokens in several ways.")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = options.parse_args().device
    torch.set_num_threads(1)
    with ExitStack() as stack:
        start = teams_of_torchrun if dist.is_torchelastic_launched() else teams_of_mpirun
        teams = start(stack, device)
        if device == "cuda":
            torch.set_default_device(device)
        compare(teams)


if __name__ == "__main__":
    main()
