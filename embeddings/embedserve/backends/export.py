"""Our torch encoders in packed form, for conversion to OpenVINO.

What differs from models/jina_bert.py and transformers' BERT, for the same numbers:

- Packed (see packing.py): hidden states are (tokens, width) without padding. Attention gathers a rectangle.
- Attention is written as softmax((q kT + bias) * slope) v, which OpenVINO's CPU plugin runs as one fused
  operation. ALiBi's slope is taken out of the bias by dividing the queries by it (in LN_q's weights), so that
  the bias is -|i - j| and padding, (texts, 1, L, L): one twelfth of the usual table. At 8,192 tokens it
  takes 134 MB in bf16; 12 x 8192 x 8192 float32 would take 3.2 GB.
- `up_gated_layer` is cut in two matrices, so that GELU is fused into its product and nothing is split.
- Mean pooling is inside, in float32.

Imports torch: only the conversion, in its own process, imports this module.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embedserve.errors import SetupError
from embedserve.models.jina_bert import JinaBert, alibi_slopes

PADDING = -1e7  # a bias that no score outweighs


def packed(encoder: Any) -> nn.Module:
    """forward(ids, positions, rows, back, mask) -> (n, width) means over each text's tokens, float32."""
    if isinstance(encoder, JinaBert):
        return PackedJina(encoder).eval()
    if hasattr(encoder, "model") and encoder.model.config.model_type == "bert":
        return PackedBert(encoder.model).eval()
    raise SetupError(f"there is no OpenVINO conversion for {type(encoder).__name__}; use EMBEDDING_BACKEND=torch")


class Packed(nn.Module):
    """Embeds, runs `layer` over each of `layers`, pools."""

    heads: int
    head_width: int
    layers: Any  # an nn.ModuleList of the encoder's own layers

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        raise NotImplementedError

    def bias(self, mask: Tensor) -> Tensor:
        raise NotImplementedError

    def layer(self, layer: Any, h: Tensor, rows: Tensor, back: Tensor, bias: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, ids: Tensor, positions: Tensor, rows: Tensor, back: Tensor, mask: Tensor) -> Tensor:
        bias = self.bias(mask)
        h = self.embed(ids, positions).unsqueeze(0)  # [1, tokens, width]: the CPU plugin fuses more in rank 3
        for layer in self.layers:
            h = self.layer(layer, h, rows, back, bias)
        weights = mask / mask.sum(1, keepdim=True)
        return (h.squeeze(0)[rows] * weights[:, :, None]).sum(1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, back: Tensor, bias: Tensor) -> Tensor:
        """q, k, v [1, tokens, width], q scaled already -> context [1, tokens, width]."""
        scores = self._rectangle(q, rows) @ self._rectangle(k, rows).transpose(-1, -2)  # [n, heads, L, L]
        context = torch.softmax(self.scores(scores, bias), dim=-1) @ self._rectangle(v, rows)
        return context.permute(0, 2, 1, 3).reshape(-1, self.heads * self.head_width)[back].unsqueeze(0)

    def scores(self, scores: Tensor, bias: Tensor) -> Tensor:
        return scores + bias

    def _rectangle(self, x: Tensor, rows: Tensor) -> Tensor:
        """[1, tokens, width] -> [n, heads, L, width / heads]"""
        # heads and head_width are constants: x.shape[-1] // heads would be computed in the graph, in bf16. And
        # not x[0]: OpenVINO 2026.4 loses that step where x was quantised.
        flat = x.reshape(-1, self.heads * self.head_width)
        return flat[rows].unflatten(-1, (self.heads, self.head_width)).permute(0, 2, 1, 3)


class PackedJina(Packed):
    def __init__(self, encoder: JinaBert) -> None:
        super().__init__()
        self.heads = encoder.config.num_attention_heads
        self.layers = encoder.encoder.layer
        self.embeddings = encoder.embeddings
        self.slopes = torch.tensor(alibi_slopes(self.heads), dtype=torch.float32)
        self.head_width = encoder.config.hidden_size // self.heads
        self.q_scale = (1 / (self.head_width**0.5 * self.slopes)).repeat_interleave(self.head_width)
        for layer in self.layers:
            up, gate = layer.mlp.up_gated_layer.weight.chunk(2)
            layer.mlp.up, layer.mlp.gate = (nn.Parameter(w.clone(), requires_grad=False) for w in (up, gate))

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return self.embeddings(ids)

    def bias(self, mask: Tensor) -> Tensor:
        places = torch.arange(mask.shape[1], dtype=torch.float32)
        distance = (places[None, :] - places[:, None]).abs()
        return ((1 - mask) * PADDING)[:, None, None, :] - distance

    def scores(self, scores: Tensor, bias: Tensor) -> Tensor:
        return (scores + bias) * self.slopes[None, :, None, None]

    def layer(self, layer: Any, h: Tensor, rows: Tensor, back: Tensor, bias: Tensor) -> Tensor:
        attention, norm = layer.attention.self, layer.attention.self.layer_norm_q
        scaled = norm.weight * self.q_scale, norm.bias * self.q_scale
        q = F.layer_norm(attention.query(h), norm.normalized_shape, *scaled, norm.eps)
        k = attention.layer_norm_k(attention.key(h))
        context = self.attend(q, k, attention.value(h), rows, back, bias)
        x = layer.layer_norm_1(h + layer.attention.output(context, h))
        inner = F.linear(x, layer.mlp.up) * F.gelu(F.linear(x, layer.mlp.gate))
        return layer.layer_norm_2(x + layer.mlp.down_layer(inner))


class PackedBert(Packed):
    """transformers' BertModel with absolute positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.heads = model.config.num_attention_heads
        self.layers = model.encoder.layer
        self.embeddings = model.embeddings
        self.head_width = model.config.hidden_size // self.heads

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        e = self.embeddings
        tokens = e.word_embeddings(ids) + e.token_type_embeddings.weight[0]
        return e.LayerNorm(tokens + e.position_embeddings(positions))

    def bias(self, mask: Tensor) -> Tensor:
        return ((1 - mask) * PADDING)[:, None, None, :]

    def layer(self, layer: Any, h: Tensor, rows: Tensor, back: Tensor, bias: Tensor) -> Tensor:
        attention = layer.attention.self
        q = attention.query(h) * self.head_width**-0.5
        context = self.attend(q, attention.key(h), attention.value(h), rows, back, bias)
        x = layer.attention.output(context, h)
        return layer.output(layer.intermediate(x), x)
