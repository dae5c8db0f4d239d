"""jina-embeddings-v2 ("JinaBERT v2, QK-post-norm") in plain PyTorch: no remote code, no transformers.

What is unusual, for a reader who knows BERT:

- No position embeddings. ALiBi instead: head h adds -slope_h * |i - j| to its scores, so texts longer than
  those of the training (512 tokens) still work.
- Queries and keys each get a LayerNorm over the full width, after the projection, before the split in heads.
- Two residuals go to the same `h`: one inside `attention.output`, one more around it (`layer_norm_1`).
- The feed-forward is GEGLU: one matrix makes `up` and `gate` (in this order), up * gelu(gate) goes down. The
  GELU is the exact one (erf).

The attribute names are the checkpoint's tensor names (`encoder.layer.0.attention.self.layer_norm_q.weight`),
so loading is a strict `load_state_dict` and nothing is renamed.

ALiBi never becomes a table for 8192 x 8192: the bias is made from the positions of the batch at hand, added
to the padding mask and handed to scaled_dot_product_attention as its additive mask (one op, also after a
conversion to OpenVINO). In eager mode, when that mask would be over MASK_BYTES, attention runs over blocks
of queries, each with its own slice of the bias: exact, and 8,192 tokens need megabytes where they would need
3.2 GB. A trace (torch.jit.trace, openvino.convert_model) always records the single-block form, right for any
length but with a mask of n * heads * L * L numbers.

It does not pool, normalise, tokenise or read files: see pooling.py, tokenizer.py and loading.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MASK_BYTES = 64 * 1024 * 1024  # largest attention mask held at once, in eager mode


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


def attention_bias(attention_mask: Tensor, slopes: Tensor, first: Tensor | int = 0, rows: int | None = None) -> Tensor:
    """-slope * |i - j|, and the lowest number where key j is padding, for queries first ... first + rows - 1.

    attention_mask [n, L], slopes [heads] -> [n, heads, rows or L, L] float32.
    """
    keys = torch.arange(attention_mask.shape[1], device=slopes.device)
    queries = keys if rows is None else keys[first : first + rows]
    distance = (keys[None, :] - queries[:, None]).abs().to(slopes.dtype)  # [rows, L]
    bias = -slopes[:, None, None] * distance  # [heads, rows, L]
    padding = attention_mask[:, None, None, :] == 0  # [n, 1, 1, L]
    return bias[None].masked_fill(padding, torch.finfo(torch.float32).min)


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

    def forward(self, h: Tensor, bias: Tensor | None, attention_mask: Tensor, slopes: Tensor) -> Tensor:
        """h [n, L, d] -> context [n, L, d]. bias None: too large to hold at once, make it block by block."""
        q = self._split(self.layer_norm_q(self.query(h)))  # [n, heads, L, d / heads]
        k = self._split(self.layer_norm_k(self.key(h)))
        v = self._split(self.value(h))
        if bias is not None:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        else:
            context = torch.empty_like(q)
            rows = block_rows(attention_mask.shape[0], self.heads, h.shape[1])
            for first in range(0, h.shape[1], rows):
                part = attention_bias(attention_mask, slopes, first, rows).to(q.dtype)
                block = slice(first, first + rows)
                context[:, :, block] = F.scaled_dot_product_attention(q[:, :, block], k, v, attn_mask=part)
        return context.transpose(1, 2).flatten(2)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def block_rows(n: int, heads: int, length: int) -> int:
    """How many queries' masks fit into MASK_BYTES (at least 16 queries)."""
    return max(16, MASK_BYTES // (4 * n * heads * length))


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

    def forward(self, h: Tensor, bias: Tensor | None, attention_mask: Tensor, slopes: Tensor) -> Tensor:
        context = self.attention.self(h, bias, attention_mask, slopes)
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

    Each row of the mask needs at least one 1. Runs in the dtype of its weights (float32, bfloat16 or
    float16); the ALiBi bias is computed in float32, and LayerNorm and softmax accumulate in float32 whatever
    the dtype (PyTorch's kernels do).
    """

    def __init__(self, config: JinaBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        h = self.embeddings(input_ids)
        # A constant in a trace. Not a buffer: `.to(bfloat16)` would round it.
        heads = self.config.num_attention_heads
        slopes = torch.tensor(alibi_slopes(heads), dtype=torch.float32, device=h.device)
        bias: Tensor | None = None
        if torch.jit.is_tracing():
            bias = attention_bias(attention_mask, slopes).to(h.dtype)
        else:
            if bool((attention_mask != 0).all()):
                attention_mask = attention_mask[:1]  # nothing is padding: one bias serves every text
            if block_rows(attention_mask.shape[0], heads, h.shape[1]) >= h.shape[1]:
                bias = attention_bias(attention_mask, slopes).to(h.dtype)
        for layer in self.encoder.layer:
            h = layer(h, bias, attention_mask, slopes)
        return h
