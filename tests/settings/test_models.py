"""Models as data, and what a decode step costs a rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvrar_bench.errors import UsageError
from nvrar_bench.settings.models import read_model, shard_of, shipped_models

OWN = """
hidden_size = 64
num_hidden_layers = 3
num_attention_heads = 4
intermediate_size = 128
vocab_size = 101
"""


def own(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text)
    return str(path)


# Parameters of the whole model, of an embedding as large as the head, and of the norms, which are
# not counted here: "The Llama 3 Herd of Models" says 8B, 70B and 405B; config.json has the rest.
@pytest.mark.parametrize(
    ("name", "billions", "all_reduces"),
    [("llama-3.1-8b", 8.03, 64), ("llama-3.1-70b", 70.55, 160), ("llama-3.1-405b", 405.8, 252)],
)
def test_shipped_models_have_as_many_parameters_as_they_are_known_for(name, billions, all_reduces):
    model = read_model(name)
    shard = shard_of(model, 1)
    head = shard.weight_bytes(shard.head(1))
    weights = model.num_hidden_layers * shard.layer_bytes + 2 * head
    assert weights / 2 / 1e9 == pytest.approx(billions, rel=2e-3)
    assert model.all_reduces == all_reduces


def test_a_rank_of_405b_on_16():
    """A rank has 8 heads of 128, a copy of one KV head, 3328 columns of the MLP."""
    shard = shard_of(read_model("llama-3.1-405b"), 16)
    assert (shard.heads, shard.kv_heads) == (8, 1)
    assert shard.attention(4) == ((4, 10 * 128, 16384), (4, 16384, 8 * 128))
    assert shard.mlp(4) == ((4, 2 * 3328, 16384), (4, 16384, 3328))
    assert shard.head(4) == ((4, 8016, 16384),)
    assert shard.layer_bytes == 2 * 16384 * (10 * 128 + 8 * 128 + 3 * 3328)
    assert shard.kv_bytes(4, 1000) == 2 * 4 * 1000 * 128 * 2
    assert shard.step_bytes(4, 1000) == 126 * (shard.layer_bytes + 2048000) + 2 * 8016 * 16384


def test_the_small_model_is_split_as_it_should(tmp_path):
    assert set(shipped_models()) == {"llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "small"}
    model = read_model("small")
    assert [32 * model.hidden_size * model.itemsize, 8 * 512 * model.itemsize] == [65536, 16384]
    for ranks in (1, 2, 4, 8):
        assert shard_of(model, ranks).ranks == ranks


def test_a_model_of_ones_own(tmp_path):
    model = read_model(own(tmp_path, OWN + "bytes_per_weight = 0.5\nhead_dim = 32"))
    assert (model.name, model.num_key_value_heads, model.torch_dtype) == ("own", 4, "bfloat16")
    shard = shard_of(model, 4)
    assert shard.layer_bytes == (64 * 3 * 32 + 32 * 64 + 3 * 64 * 32) // 2
    assert shard.head(1) == ((1, 26, 64),)  # the vocabulary is padded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("vocab_size = 101", ""), "vocab_size is missing; allowed: a whole number"),
        (OWN.replace("= 3", "= 0"), "num_hidden_layers is 0; allowed: a whole number, 1 to"),
        (OWN.replace("= 128", "= true"), "intermediate_size is True; allowed: a whole number"),
        (OWN.replace("= 4", "= 5"), "head_dim is missing, and hidden_size 64 cannot be split"),
        (OWN + "heads = 4", "heads is unknown; allowed: hidden_size, num_hidden_layers"),
        (OWN + 'torch_dtype = "int8"', "torch_dtype is 'int8'; allowed: float64, float32"),
        (OWN + "bytes_per_weight = 0", "bytes_per_weight is 0; allowed: above 0, at most 16"),
        ("hidden_size", "is not TOML"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, text, message):
    with pytest.raises(UsageError) as caught:
        read_model(own(tmp_path, text))
    assert message in str(caught.value)


def test_what_cannot_be_found_or_split():
    with pytest.raises(UsageError, match=r"--model 'llama' is no model; allowed: llama-3.1-405b,"):
        read_model("llama")
    with pytest.raises(UsageError, match=r"^/nothing.toml: cannot be read"):
        read_model("/nothing.toml")
    with pytest.raises(UsageError) as caught:
        shard_of(read_model("llama-3.1-8b"), 12)
    assert str(caught.value) == (
        "--model llama-3.1-8b: 12 ranks cannot split num_attention_heads 32, num_key_value_heads "
        "8, intermediate_size 14336; allowed: 1, 2, 4, 8, 16, 32 ranks"
    )
