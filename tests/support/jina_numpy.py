"""The forward pass of jina-embeddings-v2-base-code in float64 NumPy, one text at a time.

Written from the published formulas, apart from embedserve's PyTorch code (it imports nothing of it): what the
native implementation is tested against. Slow and simple on purpose: one text, one head at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Array = np.ndarray


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)))


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def slopes(heads: int) -> list[float]:
    """2^-1 ... 2^-8 for 8 heads; for 12 the next four are 2^-0.5, 2^-1.5, 2^-2.5, 2^-3.5."""

    def of_power_of_two(n: int) -> list[float]:
        first = 2.0 ** (-(2.0 ** -(math.log2(n) - 3)))
        return [first ** (k + 1) for k in range(n)]

    if math.log2(heads).is_integer():
        return of_power_of_two(heads)
    below = 2 ** math.floor(math.log2(heads))
    return of_power_of_two(below) + of_power_of_two(2 * below)[::2][: heads - below]


def hidden_states(config: Mapping[str, int], state: Mapping[str, Array], ids: Array) -> Array:
    """ids (L,) -> (L, hidden_size) float64."""
    w = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in state.items()}
    eps, heads = float(config["layer_norm_eps"]), int(config["num_attention_heads"])
    inner = int(config["intermediate_size"])

    def norm(name: str, x: Array) -> Array:
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    def linear(name: str, x: Array) -> Array:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    positions = np.arange(len(ids))
    distance = np.abs(positions[:, None] - positions[None, :])
    h = norm(
        "embeddings.LayerNorm",
        w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0],
    )
    for i in range(int(config["num_hidden_layers"])):
        at = f"encoder.layer.{i}"
        q = norm(f"{at}.attention.self.layer_norm_q", linear(f"{at}.attention.self.query", h))
        k = norm(f"{at}.attention.self.layer_norm_k", linear(f"{at}.attention.self.key", h))
        v = linear(f"{at}.attention.self.value", h)
        size = q.shape[1] // heads
        context = np.empty_like(q)
        for head, slope in enumerate(slopes(heads)):
            part = slice(head * size, (head + 1) * size)
            scores = q[:, part] @ k[:, part].T / math.sqrt(size) - slope * distance
            context[:, part] = softmax(scores) @ v[:, part]
        a = norm(f"{at}.attention.output.LayerNorm", linear(f"{at}.attention.output.dense", context) + h)
        x = norm(f"{at}.layer_norm_1", h + a)
        u = x @ w[f"{at}.mlp.up_gated_layer.weight"].T
        m = linear(f"{at}.mlp.down_layer", u[:, :inner] * gelu(u[:, inner:]))
        h = norm(f"{at}.layer_norm_2", x + m)
    return h


def embed(config: Mapping[str, int], state: Mapping[str, Array], ids: Array) -> Array:
    """The unit vector of one text: mean over all tokens, divided by its length."""
    mean = hidden_states(config, state, ids).mean(0)
    return mean / np.linalg.norm(mean)
