"""Transformer models as data, and what one decode step of each costs a rank.

A model file is TOML with keys of the config.json that models have on Hugging Face, and one of ours;
docs/decode.md shows one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvrar_bench.datatypes import DTYPES
from nvrar_bench.errors import UsageError
from nvrar_bench.files import data_dir, load_toml

_DTYPES = tuple(name for name, row in DTYPES.items() if row.is_float)
_LARGEST = 10**7  # what is larger is a typing error
Shapes = tuple[tuple[int, int, int], ...]

# What a value may be, and how a message says so. In Python True is an int; in TOML it is no number.
_Rule = tuple[Callable[[Any], bool], str]
_SIZE: _Rule = (
    lambda value: type(value) is int and 1 <= value <= _LARGEST,
    f"a whole number, 1 to {_LARGEST}",
)
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("hidden_size", "num_hidden_layers", "num_attention_heads"), _SIZE),
    **dict.fromkeys(("intermediate_size", "vocab_size"), _SIZE),
    **dict.fromkeys(("num_key_value_heads", "head_dim"), _SIZE),
    "torch_dtype": (lambda value: value in _DTYPES, ", ".join(_DTYPES)),
    "bytes_per_weight": (
        lambda value: type(value) in (int, float) and 0 < value <= 16,
        "above 0, at most 16",
    ),
}


@dataclass(frozen=True)
class Model:
    """A decoder of Llama's kind."""

    name: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int  # num_attention_heads, where a file leaves it out
    head_dim: int  # hidden_size / num_attention_heads, likewise
    intermediate_size: int
    vocab_size: int
    torch_dtype: str  # of the hidden state and the KV cache; bfloat16, likewise
    bytes_per_weight: float  # of quantised weights; as torch_dtype, likewise

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the hidden state and the KV cache."""
        return DTYPES[self.torch_dtype].itemsize

    @property
    def all_reduces(self) -> int:
        """Of a step: one behind attention and one behind the MLP of each layer."""
        return 2 * self.num_hidden_layers


@dataclass(frozen=True)
class Shard:
    """What each of `ranks` ranks holds of a model under tensor parallelism.

    Heads, the columns of the MLP and the vocabulary are split. Where there are more ranks than
    key/value heads, each rank has a copy of one, as in vLLM.
    """

    model: Model
    ranks: int

    @property
    def heads(self) -> int:
        """Attention heads of a rank."""
        return self.model.num_attention_heads // self.ranks

    @property
    def kv_heads(self) -> int:
        """Key/value heads of a rank."""
        return max(1, self.model.num_key_value_heads // self.ranks)

    def attention(self, batch: int) -> Shapes:
        """Return the products (m, n, k) of attention with weights: Q, K and V at once, then out."""
        model = self.model
        columns = (self.heads + 2 * self.kv_heads) * model.head_dim
        hidden = model.hidden_size
        return (batch, columns, hidden), (batch, hidden, self.heads * model.head_dim)

    def mlp(self, batch: int) -> Shapes:
        """Return those of the MLP: gate and up at once, then down."""
        hidden, columns = self.model.hidden_size, self.model.intermediate_size // self.ranks
        return (batch, 2 * columns, hidden), (batch, hidden, columns)

    def head(self, batch: int) -> Shapes:
        """Return the one behind the last layer, which makes logits of the rank's vocabulary."""
        return ((batch, -(-self.model.vocab_size // self.ranks), self.model.hidden_size),)

    def weight_bytes(self, shapes: Shapes) -> int:
        """Bytes of the weights of products, each read once."""
        return round(sum(n * k for _, n, k in shapes) * self.model.bytes_per_weight)

    def kv_bytes(self, batch: int, context: int) -> int:
        """Bytes of KV cache that a rank reads in each layer."""
        return 2 * batch * context * self.kv_heads * self.model.head_dim * self.model.itemsize

    @property
    def layer_bytes(self) -> int:
        """Bytes of weights that a rank reads in each layer."""
        return self.weight_bytes((*self.attention(1), *self.mlp(1)))

    def step_bytes(self, batch: int, context: int) -> int:
        """Bytes that a rank reads in a step."""
        layer = self.layer_bytes + self.kv_bytes(batch, context)
        return self.model.num_hidden_layers * layer + self.weight_bytes(self.head(1))


def shard_of(model: Model, ranks: int) -> Shard:
    """Split a model. UsageError: what cannot be split so; the message names all of it."""
    problems = _unsplit(model, ranks)
    if problems:
        numbers = range(1, model.num_attention_heads + 1)
        fitting = ", ".join(str(n) for n in numbers if not _unsplit(model, n))
        raise UsageError(
            f"--model {model.name}: {ranks} ranks cannot split {', '.join(problems)}; allowed: "
            f"{fitting} ranks"
        )
    return Shard(model, ranks)


def _unsplit(model: Model, ranks: int) -> list[str]:
    """Name what is not split evenly."""
    kv_heads = model.num_key_value_heads
    rests = {
        f"num_attention_heads {model.num_attention_heads}": model.num_attention_heads % ranks,
        f"num_key_value_heads {kv_heads}": kv_heads % ranks and ranks % kv_heads,
        f"intermediate_size {model.intermediate_size}": model.intermediate_size % ranks,
    }
    return [text for text, rest in rests.items() if rest]


def shipped_models() -> tuple[str, ...]:
    """Names of the models that come with the package, sorted."""
    return tuple(sorted(path.stem for path in (data_dir("cases") / "models").glob("*.toml")))


def model_path(source: str) -> Path:
    """Return the file of a model: a path, or the name of one that comes with the package.

    A text without a folder that does not end in `.toml` is a name (UsageError: of no model).
    """
    path = Path(source)
    if path.suffix == ".toml" or path.name != source:
        return path
    names = shipped_models()
    if source not in names:
        raise UsageError(
            f"--model {source!r} is no model; allowed: {', '.join(names)}, or the path of a file "
            f"such as ./{source or 'model'}.toml"
        )
    return data_dir("cases") / "models" / f"{source}.toml"


def read_model(source: str) -> Model:
    """Read a model by name or path; UsageError where its file or a key of it is not allowed."""
    path = model_path(source)
    table, where = load_toml(path), f"--model {path}"
    for key in table:
        if key not in _RULES:
            raise UsageError(f"{where}: {key} is unknown; allowed: {', '.join(_RULES)}")
    hidden, heads = (_value(table, key, where) for key in ("hidden_size", "num_attention_heads"))
    if "head_dim" not in table and hidden % heads:
        raise UsageError(
            f"{where}: head_dim is missing, and hidden_size {hidden} cannot be split into {heads} "
            "heads; allowed: head_dim, a whole number"
        )
    usual = {"num_key_value_heads": heads, "head_dim": hidden // heads, "torch_dtype": "bfloat16"}
    table = {**usual, **table}
    dtype = DTYPES[_value(table, "torch_dtype", where)]
    table = {"bytes_per_weight": dtype.itemsize, **table}
    values = {key: _value(table, key, where) for key in _RULES}
    return Model(path.stem, **{**values, "bytes_per_weight": float(values["bytes_per_weight"])})


def _value(table: dict[str, Any], key: str, where: str) -> Any:
    value, (is_right, allowed) = table.get(key), _RULES[key]
    if not is_right(value):
        seen = "is missing" if value is None else f"is {value!r}"
        raise UsageError(f"{where}: {key} {seen}; allowed: {allowed}")
    return value
