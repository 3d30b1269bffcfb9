"""The programs of examples/ that use PyTorch, run as their first lines say."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest

pytest.importorskip("torch")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("ranks", [2, 4])
def test_tensor_parallel_mlp(run_torch, ranks: int):
    done = run_torch(ranks, EXAMPLES / "tensor_parallel_mlp.py")
    assert done.code == 0, done.stderr[-4000:]
    first, second = done.stdout.splitlines()
    assert first == f"{ranks} ranks: the result of one rank alone, within rounding"
    assert re.fullmatch(r"layer \d+ us; all-reduce: NVRAR \d+ us, gloo \d+ us", second)


@pytest.mark.parametrize("ranks", [2, 4])
def test_llama_decode(run_torch, ranks: int):
    done = run_torch(ranks, EXAMPLES / "llama_decode.py")
    require_same_tokens(done, ranks, "torch.distributed gloo")


def test_llama_decode_by_mpirun(run_ranks):
    require_same_tokens(run_ranks(2, EXAMPLES / "llama_decode.py"), 2, "mpi")


def require_same_tokens(done: Any, ranks: int, other: str) -> None:
    """As the program says: it ends with an error where a token differs."""
    assert done.code == 0, done.stderr[-4000:]
    *steps, last = done.stdout.splitlines()
    seen = [re.fullmatch(r"(.*): \d+ us per token, rounding (\S+)", line) for line in steps]
    assert [found[1] for found in seen] == ["one rank alone", other, "nvrar"]
    assert [float(found[2]) < 1e-3 for found in seen] == [True] * 3
    assert re.fullmatch(rf"{ranks} ranks, the same 128 tokens; least margin \S+", last)


@pytest.mark.parametrize(("rank", "ranks", "gpu", "shares"), [(3, 4, 1, True), (1, 2, 1, False)])
def test_ranks_of_llama_decode_take_gpus(monkeypatch, rank, ranks, gpu, shares):
    """There is none here, so two are made up."""
    chosen, take_gpu = [], run_path(str(EXAMPLES / "llama_decode.py"))["take_gpu"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^--device cuda: PyTorch finds no GPU here$"):
        take_gpu(rank, ranks)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    assert take_gpu(rank, ranks) == {"device": "cuda", "share_gpu": shares}
    assert chosen == [gpu]


def test_every_example_with_pytorch_has_a_test():
    programs = {path.stem for path in EXAMPLES.glob("*.py") if "import torch" in path.read_text()}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert programs <= tested
