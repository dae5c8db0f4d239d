"""jina-embeddings-v2 in plain padded PyTorch: the module that the baselines run (naive_server.py, st_server.py).

The server itself runs embedserve/models/architectures/jina_bert.py.

What is unusual, for a reader who knows BERT:

- No position embeddings. ALiBi instead: head h adds -slope_h * |i - j| to its scores, so texts longer than
  those of the training (512 tokens) still work.
- Queries and keys each get a LayerNorm over the full width, after the projection, before the split in heads.
- Two residuals go to the same `h`: one inside `attention.output`, one more around it (`layer_norm_1`).
- The feed-forward is GEGLU: one matrix makes `up` and `gate` (in this order), up * gelu(gate) goes down. The
  GELU is the exact one (erf).

The attribute names are the checkpoint's tensor names (`encoder.layer.0.attention.self.layer_norm_q.weight`),
so loading is a strict `load_state_dict` and nothing is renamed.

ALiBi never becomes a table for 8192 x 8192 (3.2 GB). Its bias depends on j - i alone, so the matrix of a head
is one vector of 2 L - 1 numbers, read at i + j once the queries are in reverse order: a strided view, with no
memory of its own. On a CPU each text attends by itself, over its own length, with that view as the additive
mask of scaled_dot_product_attention: exact, nothing is spent on padding, 8,192 tokens cost megabytes. (CPU
time of one thread, 8 texts of 330 to 512 tokens: 68 ms a layer against 96 ms with a padded mask;
scripts/bench/models_speed.py attention) CUDA's kernels want
an aligned mask and few launches: there the mask of bias and padding is made for blocks of queries of at most
MASK_BYTES. A trace (torch.jit.trace, openvino.convert_model) records the same in one block: one op a layer,
right for any length, with a mask of n * heads * L * L numbers.

It does not pool, normalise, tokenise or read files.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASK_BYTES = 256 * 1024 * 1024  # largest attention mask held at once on an accelerator


@dataclass(frozen=True)
class JinaBertConfig:
    """The sizes in a checkpoint's config.json; everything else about the architecture is fixed."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> JinaBertConfig:
        """From config.json's content. Raises KeyError for a missing size."""
        optional = {k: config[k] for k in ("type_vocab_size", "layer_norm_eps") if k in config}
        required = (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
        )
        return cls(**{k: int(config[k]) for k in required}, **optional)


def alibi_slopes(heads: int) -> list[float]:
    """One slope a head. For a power of two n: s^1 ... s^n with s = 2^(-8/n). Otherwise those of the power of
    two below, then every other one of the power of two above (Press et al. 2022, as in the original)."""
    power = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8.0 / power * (k + 1)) for k in range(power)]
    if power < heads:
        slopes += alibi_slopes(2 * power)[0::2][: heads - power]
    return slopes


def attention_bias(attention_mask: Tensor, slopes: Tensor, first: int = 0, rows: int | None = None) -> Tensor:
    """-slope * |i - j|, and the lowest number where key j is padding, for queries first ... first + rows - 1.

    attention_mask [n, L], slopes [heads] -> [n, heads, rows or L, L] float32.
    """
    keys = torch.arange(attention_mask.shape[1], device=slopes.device)
    queries = keys if rows is None else keys[first : first + rows]
    distance = (keys[None, :] - queries[:, None]).abs().to(slopes.dtype)  # [rows, L]
    bias = -slopes[:, None, None] * distance  # [heads, rows, L]
    padding = attention_mask[:, None, None, :] == 0  # [n, 1, 1, L]
    return bias[None].masked_fill(padding, torch.finfo(torch.float32).min)


def reversed_bias(length: int, slopes: Tensor) -> Tensor:
    """The bias of one text without padding, for queries in reverse order: a view [1, heads, L, L] of
    heads * (2 L - 1) numbers. Query i' = L - 1 - i and key j: -slope * |i - j| = -slope * |i' + j - (L - 1)|."""
    distance = torch.arange(1 - length, length, device=slopes.device).abs().to(slopes.dtype)
    bias = -slopes[:, None] * distance  # [heads, 2 L - 1]
    return bias.as_strided((1, len(slopes), length, length), (0, 2 * length - 1, 1, 1))


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v -> context, each [n, heads, L, d / heads]


def attend_at_once(bias: Tensor) -> Attend:
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attend_each(attention_mask: Tensor, slopes: Tensor) -> Attend:
    """Text by text, each over its own length."""
    lengths = attention_mask.sum(1).tolist()
    biases = {length: reversed_bias(length, slopes) for length in set(lengths)}

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        context = torch.zeros_like(q)  # stays 0 in the padding, where NaN would spread
        for i, n in enumerate(lengths):
            one = slice(i, i + 1)
            queries = q[one, :, :n].flip(2)
            found = F.scaled_dot_product_attention(queries, k[one, :, :n], v[one, :, :n], attn_mask=biases[n])
            context[one, :, :n] = found.flip(2)
        return context

    return attend


def attend_in_blocks(attention_mask: Tensor, slopes: Tensor, rows: int) -> Attend:
    """`rows` queries of every text at a time."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        context = torch.empty_like(q)
        for first in range(0, q.shape[2], rows):
            block = slice(first, first + rows)
            bias = attention_bias(attention_mask, slopes, first, rows).to(q.dtype)
            context[:, :, block] = F.scaled_dot_product_attention(q[:, :, block], k, v, attn_mask=bias)
        return context

    return attend


class SelfAttention(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.layer_norm_q = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layer_norm_k = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, h: Tensor, attend: Attend) -> Tensor:
        """h [n, L, d] -> context [n, L, d]."""
        q = self._split(self.layer_norm_q(self.query(h)))  # [n, heads, L, d / heads]
        k = self._split(self.layer_norm_k(self.key(h)))
        v = self._split(self.value(h))
        return attend(q, k, v).transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class AttentionOutput(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, context: Tensor, h: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(context) + h)


class Attention(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AttentionOutput(config)


class GatedMlp(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        up, gate = self.up_gated_layer(x).chunk(2, dim=-1)
        return self.down_layer(up * F.gelu(gate))


class Layer(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.layer_norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = GatedMlp(config)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, h: Tensor, attend: Attend) -> Tensor:
        context = self.attention.self(h, attend)
        x = self.layer_norm_1(h + self.attention.output(context, h))
        return self.layer_norm_2(x + self.mlp(x))


class Embeddings(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.LayerNorm(self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0])


class Encoder(nn.Module):
    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class JinaBert(nn.Module):
    """forward(input_ids [n, L] int64, attention_mask [n, L], 0 is padding) -> hidden states [n, L, d].

    Padding stands at the right, and each row has at least one real token. Runs in the dtype of its weights
    (float32, bfloat16 or float16); the ALiBi bias is computed in float32, and LayerNorm and softmax accumulate
    in float32 whatever the dtype (PyTorch's kernels do).
    """

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.embeddings(input_ids)
        attend = self._attend(attention_mask, h)
        for layer in self.encoder.layer:
            h = layer(h, attend)
        return h

    def _attend(self, attention_mask: Tensor, h: Tensor) -> Attend:
        heads = self.config.num_attention_heads
        # A constant in a trace. Not a buffer: `.to(bfloat16)` would round it.
        slopes = torch.tensor(alibi_slopes(heads), dtype=torch.float32, device=h.device)
        if torch.jit.is_tracing():
            return attend_at_once(attention_bias(attention_mask, slopes).to(h.dtype))
        if bool((attention_mask.diff(dim=1) > 0).any()) or bool((attention_mask[:, 0] == 0).any()):
            raise ValueError("attention_mask must be ones, then zeros, with at least one 1 a row")
        if h.device.type == "cpu":
            return attend_each(attention_mask, slopes)
        n, length = attention_mask.shape
        rows = max(16, MASK_BYTES // (h.element_size() * n * heads * length))
        if rows >= length:
            return attend_at_once(attention_bias(attention_mask, slopes).to(h.dtype))
        return attend_in_blocks(attention_mask, slopes, rows)
