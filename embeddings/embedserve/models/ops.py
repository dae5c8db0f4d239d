"""The few tensor operations that encoders are written in, whatever library then runs them.

An encoder (encoder.py) is one function over `Ops`. Each inference library implements the primitives once: OpenVINO
and ONNX record a graph, PyTorch and NumPy compute at once. So an architecture is stated once, and every library
runs the same statement.

Texts are packed (backends/packing.py): hidden states are (1, tokens, width) without padding. Attention alone gathers
a rectangle of (texts, longest) tokens, and the result is taken home. `V` is a library's own value.

Knows no library and no architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

V = Any
Array = npt.NDArray[np.float32]

PADDING = -1e7  # a bias that no score outweighs


@dataclass(frozen=True)
class Mask:
    """Which keys a query sees. `bias`: broadcast to (texts, heads, L, L). `slopes`: multiply the scores afterwards
    (ALiBi: the bias is then one for all heads)."""

    bias: V
    slopes: V | None = None


@dataclass(frozen=True)
class Relative:
    """A bias that depends on j - i alone. values: (1 or heads, 2 M - 1) float32, the middle is j = i; None: they are
    the parameter `relative`."""

    name: str
    values: Array | None
    causal: bool = False  # no query sees a later key
    slopes: Array | None = None  # (heads,)

    @property
    def is_plainly_causal(self) -> bool:
        """Every earlier key is seen, with no bias."""
        return self.causal and self.values is not None and not self.values[:, : self.values.shape[1] // 2 + 1].any()


class Ops(ABC):
    """Inputs of one batch are attributes: `ids`, `positions`, `types` (T,); `rows` (n, L); `back` (T,); `mask` and
    `pooled` (n, L), 1 where a token is real, and where it is to be pooled; `first`, `last` (n,): packed places of
    each text's first and last pooled token; `places` (n, L): a pooled token's place in its text, from 1, else 0."""

    ids: V
    positions: V
    types: V
    rows: V
    back: V
    mask: V
    pooled: V
    places: V
    first: V
    last: V

    # --- primitives -------------------------------------------------------------------------------------------
    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is a parameter of this name."""

    @abstractmethod
    def parameter(self, name: str) -> V: ...

    @abstractmethod
    def constant(self, name: str, values: npt.NDArray[Any]) -> V:
        """A number or array; `name` tells a library that keeps constants which one it is."""

    @abstractmethod
    def gather(self, table: V, indices: V) -> V:
        """Rows of `table` (axis 0); shape (*indices, *rest)."""

    @abstractmethod
    def matmul(self, a: V, b: V, transpose_b: bool = False) -> V: ...

    @abstractmethod
    def add(self, a: V, b: V) -> V: ...

    @abstractmethod
    def multiply(self, a: V, b: V) -> V: ...

    @abstractmethod
    def divide(self, a: V, b: V) -> V: ...

    @abstractmethod
    def reshape(self, x: V, shape: Sequence[int]) -> V:
        """0 keeps the dimension at that place, -1 is what is left."""

    @abstractmethod
    def transpose(self, x: V, order: Sequence[int]) -> V: ...

    @abstractmethod
    def softmax(self, x: V) -> V: ...

    @abstractmethod
    def layer_norm(self, x: V, weight: V, bias: V | None, eps: float) -> V: ...

    @abstractmethod
    def rms_norm(self, x: V, weight: V, eps: float) -> V: ...

    @abstractmethod
    def activate(self, x: V, kind: str) -> V:
        """One of ACTIVATIONS."""

    @abstractmethod
    def sum(self, x: V, axis: int, keep: bool = False) -> V: ...

    @abstractmethod
    def maximum(self, x: V, axis: int) -> V: ...

    @abstractmethod
    def square_root(self, x: V) -> V: ...

    @abstractmethod
    def concat(self, parts: Sequence[V]) -> V:
        """Along the last axis."""

    @abstractmethod
    def rotate_half(self, x: V, width: int) -> V:
        """(-x2, x1) for the halves x1, x2 of the last axis, which is `width` long."""

    @abstractmethod
    def repeat(self, x: V, times: int) -> V:
        """(n, heads, L, width) with each head `times` times in a row."""

    @abstractmethod
    def first_rows(self, name: str, table: Array) -> V:
        """The first L rows of a table (most, width), as (1, 1, L, width)."""

    @abstractmethod
    def relative(self, bias: Relative) -> V:
        """values[j - i] as (1, heads or 1, L, L)."""

    # --- built from them --------------------------------------------------------------------------------------
    def linear(self, x: V, name: str) -> V:
        """x W^T + b, of parameters `name.weight` (out, in) and, where there is one, `name.bias`."""
        y = self.matmul(x, self.parameter(f"{name}.weight"), transpose_b=True)
        return self.add(y, self.parameter(f"{name}.bias")) if self.has(f"{name}.bias") else y

    def normed(self, x: V, name: str, eps: float) -> V:
        """LayerNorm, with `name.bias` where there is one."""
        bias = self.parameter(f"{name}.bias") if self.has(f"{name}.bias") else None
        return self.layer_norm(x, self.parameter(f"{name}.weight"), bias, eps)

    def scale(self, x: V, factor: float) -> V:
        return self.multiply(x, self.constant(f"scale {factor!r}", np.array(factor, dtype=np.float32)))

    def visible(self, relative: Relative | None = None) -> Mask:
        """Every text sees its own tokens alone, and of those what `relative` lets it."""
        if relative is not None and relative.causal:
            return Mask(self.relative(relative))  # the padding is later than every token
        absent = self.add(self.mask, self.constant("minus one", np.array(-1, dtype=np.float32)))
        padding = self.reshape(self.scale(absent, -PADDING), (0, 1, 1, -1))
        if relative is None:
            return Mask(padding)
        return Mask(self.add(padding, self.relative(relative)), self.slopes(relative))

    def slopes(self, relative: Relative) -> V | None:
        return None if relative.slopes is None else self.constant("slopes", relative.slopes.reshape(1, -1, 1, 1))

    def rectangle(self, x: V, heads: int, width: int) -> V:
        """(1, T, heads * width) -> (n, L, heads, width)"""
        flat = self.reshape(x, (-1, heads * width))
        return self.reshape(self.gather(flat, self.rows), (0, 0, heads, width))

    def attend(self, q: V, k: V, v: V, mask: Mask, groups: int) -> V:
        """q (n, heads, L, width), scaled already; k, v (n, heads / groups, L, width) -> (n, heads, L, width)."""
        if groups > 1:
            k, v = self.repeat(k, groups), self.repeat(v, groups)
        scores = self.add(self.matmul(q, k, transpose_b=True), mask.bias)
        if mask.slopes is not None:
            scores = self.multiply(scores, mask.slopes)
        return self.matmul(self.softmax(scores), v)

    def home(self, context: V, heads: int, width: int) -> V:
        """(n, heads, L, width) -> (1, T, heads * width)"""
        flat = self.reshape(self.transpose(context, (0, 2, 1, 3)), (-1, heads * width))
        return self.reshape(self.gather(flat, self.back), (1, -1, heads * width))


ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid", "identity")
