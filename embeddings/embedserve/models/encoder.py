"""What an encoder is made of (`Encoder`), and the one forward pass over it that every architecture shares.

    post-norm (BERT and kin)              pre-norm (ModernBERT, Gemma, Qwen)
    h = norm(h + o(attention(h)))         h = h + [norm](o(attention(norm(h))))
    h = norm(h + mlp(h))                  h = h + [norm](mlp(norm(h)))

    mlp(x) = down(act(up x))   or, gated,   down(act(gate x) * up x)

Parameters have canonical names (`shapes` lists them with their shapes); architectures/ says which tensor of a
checkpoint each one is. What can be folded into weights is folded when they are read (parameters.py): attention's
scale into the queries, Gemma's 1 + w.

Knows no library: the forward pass is written in `Ops`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from embedserve.models.ops import PADDING, Array, Mask, Ops, Relative, V

FAR = 512  # tokens by which a batch may be wider than the longest text: sizes are rounded up


@dataclass(frozen=True)
class Encoder:
    """Sizes and kinds. Tuples have one element a layer."""

    layers: int
    width: int
    heads: int
    inner: int  # width inside the feed-forward
    vocabulary: int
    eps: float
    activation: str
    max_tokens: int
    kv_heads: int = 0  # 0: as many as heads
    head_width: int = 0  # 0: width / heads
    norm: str = "layer"  # or "rms"
    norm_bias: bool = True
    attention_bias: bool = True
    mlp_bias: bool = True  # of up and gate
    down_bias: bool = True
    gated: bool = False
    pre_norm: bool = False
    out_norms: bool = False  # norms after attention and after the feed-forward (Gemma)
    first_norm: bool = True  # ModernBERT has none before its first attention
    second_norm: bool = False  # JinaBERT: one more residual and norm around the attention
    final_norm: bool = False
    embedding_norm: bool = True
    qk_norm: str = ""  # "width": over all heads at once; "head": over each
    scale: float = 0.0  # of q.k; 0: head_width^-0.5
    one_plus: bool = False  # norms multiply by 1 + weight
    embedding_scale: float = 1.0
    positions: int = 0  # rows of a position table; 0: none
    first_position: int = 0  # the row of a text's first token
    types: int = 0  # rows of a token type table
    causal: bool = False
    windows: tuple[int | None, ...] = ()  # a layer sees |i - j| <= window; (): all see all
    thetas: tuple[float, ...] = ()  # rotary embedding's base; (): none
    alibi: bool = False
    buckets: int = 0  # of MPNet's relative position bias; 0: none

    @property
    def kv(self) -> int:
        return self.kv_heads or self.heads

    @property
    def size(self) -> int:
        """Of a head."""
        return self.head_width or self.width // self.heads

    @property
    def q_scale(self) -> float:
        return self.scale or self.size**-0.5

    @property
    def operations_per_token(self) -> int:
        """Multiplications and additions of the linear layers, for one token."""
        attention = self.width * self.size * (2 * self.heads + 2 * self.kv)
        return 2 * self.layers * (attention + (3 if self.gated else 2) * self.width * self.inner)

    @property
    def operations_per_token_and_length(self) -> int:
        """Of the attention, for each token of the text (windows not counted)."""
        return 4 * self.layers * self.heads * self.size


def shapes(e: Encoder) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every parameter."""
    found: dict[str, tuple[int, ...]] = {"tokens": (e.vocabulary, e.width)}
    if e.positions:
        found["positions"] = (e.positions, e.width)
    if e.types:
        found["types"] = (e.types, e.width)
    if e.buckets:
        found["buckets"] = (e.buckets, e.heads)

    def norm(name: str, width: int = 0) -> None:
        found[f"{name}.weight"] = (width or e.width,)
        if e.norm == "layer" and e.norm_bias:
            found[f"{name}.bias"] = (width or e.width,)

    def linear(name: str, out: int, into: int, bias: bool) -> None:
        found[f"{name}.weight"] = (out, into)
        if bias:
            found[f"{name}.bias"] = (out,)

    if e.embedding_norm:
        norm("embedding_norm")
    for i in range(e.layers):
        at = f"layers.{i}"
        for name, heads in (("q", e.heads), ("k", e.kv), ("v", e.kv)):
            linear(f"{at}.{name}", heads * e.size, e.width, e.attention_bias)
        linear(f"{at}.o", e.width, e.heads * e.size, e.attention_bias)
        for name in ("q_norm", "k_norm") if e.qk_norm else ():
            norm(f"{at}.{name}", e.size if e.qk_norm == "head" else e.heads * e.size)
        if i or e.first_norm:
            norm(f"{at}.attention_norm")
        norm(f"{at}.mlp_norm")
        if e.second_norm:
            norm(f"{at}.second_norm")
        for name in ("attention_out_norm", "mlp_out_norm") if e.out_norms else ():
            norm(f"{at}.{name}")
        linear(f"{at}.up", e.inner, e.width, e.mlp_bias)
        if e.gated:
            linear(f"{at}.gate", e.inner, e.width, e.mlp_bias)
        linear(f"{at}.down", e.width, e.inner, e.down_bias)
    if e.final_norm:
        norm("final_norm")
    return found


def encode(ops: Ops, e: Encoder, *, types: bool = False) -> V:
    """Hidden states (1, T, width). types: token types come with the batch; otherwise all are 0."""
    return _Forward(ops, e).run(types)


class _Forward:
    def __init__(self, ops: Ops, e: Encoder) -> None:
        self.ops, self.e = ops, e
        self.masks: dict[int | None, Mask] = {}
        self.rotary: dict[float, tuple[V, V]] = {}

    def run(self, types: bool) -> V:
        ops, e = self.ops, self.e
        h = ops.gather(ops.parameter("tokens"), ops.ids)
        if e.embedding_scale != 1:
            h = ops.scale(h, e.embedding_scale)
        if e.types:
            table = ops.parameter("types")
            first = ops.constant("type 0", np.array(0, dtype=np.int32))
            h = ops.add(h, ops.gather(table, ops.types if types and e.types > 1 else first))
        if e.positions:
            h = ops.add(h, ops.gather(ops.parameter("positions"), ops.positions))
        h = ops.reshape(h, (1, -1, e.width))
        if e.embedding_norm:
            h = self.norm(h, "embedding_norm")
        for i in range(e.layers):
            h = self.pre_norm_layer(h, i) if e.pre_norm else self.post_norm_layer(h, i)
        return self.norm(h, "final_norm") if e.final_norm else h

    def post_norm_layer(self, h: V, i: int) -> V:
        ops, at = self.ops, f"layers.{i}"
        x = self.norm(ops.add(self.attention(h, i), h), f"{at}.attention_norm")
        if self.e.second_norm:
            x = self.norm(ops.add(h, x), f"{at}.second_norm")
        return self.norm(ops.add(self.mlp(x, at), x), f"{at}.mlp_norm")

    def pre_norm_layer(self, h: V, i: int) -> V:
        ops, at = self.ops, f"layers.{i}"
        x = self.norm(h, f"{at}.attention_norm") if i or self.e.first_norm else h
        x = self.attention(x, i)
        h = ops.add(h, self.norm(x, f"{at}.attention_out_norm") if self.e.out_norms else x)
        x = self.mlp(self.norm(h, f"{at}.mlp_norm"), at)
        return ops.add(h, self.norm(x, f"{at}.mlp_out_norm") if self.e.out_norms else x)

    def norm(self, x: V, name: str) -> V:
        if self.e.norm == "rms":
            return self.ops.rms_norm(x, self.ops.parameter(f"{name}.weight"), self.e.eps)
        return self.ops.normed(x, name, self.e.eps)

    def mlp(self, x: V, at: str) -> V:
        ops, e = self.ops, self.e
        if e.gated:
            gate = ops.activate(ops.linear(x, f"{at}.gate"), e.activation)
            return ops.linear(ops.multiply(ops.linear(x, f"{at}.up"), gate), f"{at}.down")
        return ops.linear(ops.activate(ops.linear(x, f"{at}.up"), e.activation), f"{at}.down")

    def attention(self, x: V, i: int) -> V:
        ops, e, at = self.ops, self.e, f"layers.{i}"
        q = self.heads(x, i, "q", e.heads)
        k = self.heads(x, i, "k", e.kv)
        v = ops.transpose(ops.rectangle(ops.linear(x, f"{at}.v"), e.kv, e.size), (0, 2, 1, 3))
        context = ops.attend(q, k, v, self.mask(e.windows[i] if e.windows else None), e.heads // e.kv)
        return ops.linear(ops.home(context, e.heads, e.size), f"{at}.o")

    def heads(self, x: V, i: int, name: str, heads: int) -> V:
        """Queries or keys (n, heads, L, size), normalised and rotated where the model does that."""
        ops, e, at = self.ops, self.e, f"layers.{i}"
        flat = ops.linear(x, f"{at}.{name}")
        if e.qk_norm == "width":
            flat = self.norm(flat, f"{at}.{name}_norm")
        y = ops.rectangle(flat, heads, e.size)
        if e.qk_norm == "head":
            y = self.norm(y, f"{at}.{name}_norm")
        y = ops.transpose(y, (0, 2, 1, 3))
        if not e.thetas:
            return y
        cos, sin = self.rotation(e.thetas[i])
        return ops.add(ops.multiply(y, cos), ops.multiply(ops.rotate_half(y, e.size), sin))

    def rotation(self, theta: float) -> tuple[V, V]:
        if theta not in self.rotary:
            cos, sin = rotary_tables(theta, self.e.size, self.e.max_tokens + FAR)
            self.rotary[theta] = self.ops.first_rows(f"cos {theta}", cos), self.ops.first_rows(f"sin {theta}", sin)
        return self.rotary[theta]

    def mask(self, window: int | None) -> Mask:
        if window not in self.masks:
            self.masks[window] = self.ops.visible(relative_bias(self.e, window))
        return self.masks[window]


@lru_cache(maxsize=8)
def rotary_tables(theta: float, size: int, most: int) -> tuple[Array, Array]:
    """cos and sin (most, size) of position x theta^(-2 k / size) (Su et al. 2021, RoFormer)."""
    frequencies = theta ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    angles = np.arange(most)[:, None] * np.concatenate([frequencies, frequencies])
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


@lru_cache(maxsize=16)
def relative_bias(e: Encoder, window: int | None) -> Relative | None:
    """What of the distance j - i weighs on the scores; None where nothing does."""
    if e.buckets:
        return Relative("relative", None)
    most = e.max_tokens + FAR
    distance = np.arange(1 - most, most)[None, :]
    if e.alibi:
        slopes = np.array(alibi_slopes(e.heads), dtype=np.float32)
        return Relative("alibi", -np.abs(distance).astype(np.float32), slopes=slopes)
    hidden = np.zeros(distance.shape, dtype=bool)
    if window is not None:
        hidden |= np.abs(distance) > window
    if e.causal:
        hidden |= distance > 0
    if not hidden.any():
        return None
    values: Array = np.where(hidden, PADDING, 0).astype(np.float32)
    return Relative(f"causal {e.causal}, window {window}", values, causal=e.causal)


def biases(e: Encoder) -> list[Relative]:
    """Those of its layers that are known without its parameters, one of each."""
    found = [relative_bias(e, window) for window in dict.fromkeys(e.windows or (None,))]
    return [bias for bias in found if bias is not None and bias.values is not None]


def alibi_slopes(heads: int) -> list[float]:
    """One slope a head. For a power of two n: s^1 ... s^n with s = 2^(-8/n). Otherwise those of the power of
    two below, then every other one of the power of two above (Press et al. 2022, as in the original)."""
    power = 2 ** int(math.log2(heads))
    slopes = [2.0 ** (-8.0 / power * (k + 1)) for k in range(power)]
    if power < heads:
        slopes += alibi_slopes(2 * power)[0::2][: heads - power]
    return slopes


def relative_buckets(distance: np.ndarray, buckets: int, most: int = 128) -> np.ndarray:
    """The bucket of each j - i: half of them for either direction, near ones exact, then logarithmic (T5, MPNet)."""
    half = buckets // 2
    exact = half // 2
    n = np.abs(distance)
    far = exact + (np.log(np.maximum(n, 1).astype(np.float32) / exact) / math.log(most / exact) * (half - exact))
    found = np.where(n < exact, n, np.minimum(far.astype(np.int64), half - 1))
    return np.asarray(np.where(distance > 0, half, 0) + found)
