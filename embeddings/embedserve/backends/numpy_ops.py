"""`Ops` in NumPy, float32, computing at once: the reference that an export is compared with, everywhere installed.

Slow (no threads but BLAS's, no fusion), and simple enough to be read beside the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import TokenIds, Vectors
from embedserve.backends.packing import pack
from embedserve.models.graph import vectors
from embedserve.models.ops import Array, Ops, Relative
from embedserve.models.spec import ModelSpec

A = Any
_erf: Any = np.frompyfunc(math.erf, 1, 1)


def embed(spec: ModelSpec, parameters: Mapping[str, Array], sequences: Sequence[TokenIds]) -> Vectors:
    """(n, dimension) float32."""
    ops = NumpyOps(parameters, pack(sequences))
    return np.asarray(vectors(ops, spec), dtype=np.float32)


class NumpyOps(Ops):
    def __init__(self, parameters: Mapping[str, Array], feed: Mapping[str, A]) -> None:
        self._parameters = parameters
        for name, value in feed.items():
            setattr(self, name, value)

    def has(self, name: str) -> bool:
        return name in self._parameters

    def parameter(self, name: str) -> A:
        return self._parameters[name]

    def constant(self, name: str, values: npt.NDArray[Any]) -> A:
        return values

    def gather(self, table: A, indices: A) -> A:
        return table[indices]

    def matmul(self, a: A, b: A, transpose_b: bool = False) -> A:
        return a @ (b.swapaxes(-1, -2) if transpose_b else b)

    def add(self, a: A, b: A) -> A:
        return a + b

    def multiply(self, a: A, b: A) -> A:
        return a * b

    def divide(self, a: A, b: A) -> A:
        return a / b

    def reshape(self, x: A, shape: Sequence[int]) -> A:
        return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])

    def transpose(self, x: A, order: Sequence[int]) -> A:
        return x.transpose(order)

    def softmax(self, x: A) -> A:
        powers = np.exp(x - x.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def layer_norm(self, x: A, weight: A, bias: A | None, eps: float) -> A:
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight
        return y if bias is None else y + bias

    def rms_norm(self, x: A, weight: A, eps: float) -> A:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight

    def activate(self, x: A, kind: str) -> A:
        return _ACTIVATIONS[kind](x)

    def sum(self, x: A, axis: int, keep: bool = False) -> A:
        return x.sum(axis, keepdims=keep)

    def maximum(self, x: A, axis: int) -> A:
        return x.max(axis)

    def square_root(self, x: A) -> A:
        return np.sqrt(x)

    def concat(self, parts: Sequence[A]) -> A:
        return np.concatenate(parts, -1)

    def rotate_half(self, x: A, width: int) -> A:
        return np.concatenate([-x[..., width // 2 :], x[..., : width // 2]], -1)

    def repeat(self, x: A, times: int) -> A:
        return x.repeat(times, 1)

    def first_rows(self, name: str, table: Array) -> A:
        return table[None, None, : self.rows.shape[1]]

    def relative(self, bias: Relative) -> A:
        values = self.parameter(bias.name) if bias.values is None else bias.values
        places = np.arange(self.rows.shape[1])
        return values[:, places[None, :] - places[:, None] + values.shape[1] // 2][None]


def _sigmoid(x: A) -> A:
    return 1 / (1 + np.exp(-x))


_ACTIVATIONS: Any = {
    "gelu": lambda x: (x * 0.5 * (1 + _erf(x / math.sqrt(2)).astype(np.float32))).astype(np.float32),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "identity": lambda x: x,
}
