"""`Ops` in PyTorch, computing at once: the way to CUDA and MPS devices.

Parameters and constants are put on the device once (`Store`); a forward pass then only launches kernels. Attention is
scaled_dot_product_attention: a mask only where the model needs one, grouped queries without copies, and where the
bias of a long text would be larger than MASK_BYTES, a block of queries at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from embedserve.models.ops import Array, Mask, Ops, Relative

# The largest bias of attention held at once. Measured on a CPU (8,192 tokens, 12 heads): 256 MiB is no faster than 32,
# and with its intermediates it cost half a gigabyte; a GPU wants few launches.
MASK_BYTES = {"cpu": 32 * 1024 * 1024, "cuda": 256 * 1024 * 1024, "mps": 128 * 1024 * 1024}


class Store:
    """A model's numbers on a device, its parameters in `dtype`; constants (tables of positions, biases) in float32."""

    def __init__(self, parameters: Mapping[str, Array], dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.parameters = {name: self._put(parameters[name], dtype) for name in parameters}
        self.constants: dict[str, Tensor] = {}

    def _put(self, values: Array, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.array(values)).to(dtype).to(self.device)

    def constant(self, name: str, values: npt.NDArray[Any]) -> Tensor:
        if name not in self.constants:
            is_float = values.dtype.kind == "f"
            tensor = torch.from_numpy(np.array(values, dtype=values.dtype if is_float else np.int64))
            self.constants[name] = tensor.to(self.device)
        return self.constants[name]


class TorchOps(Ops):
    def __init__(self, store: Store, feed: Mapping[str, Tensor]) -> None:
        self._store = store
        for name, value in feed.items():
            setattr(self, name, value)

    def has(self, name: str) -> bool:
        return name in self._store.parameters

    def parameter(self, name: str) -> Tensor:
        return self._store.parameters[name]

    def constant(self, name: str, values: npt.NDArray[Any]) -> Tensor:
        return self._store.constant(name, values)

    def gather(self, table: Tensor, indices: Tensor) -> Tensor:
        return table[indices]

    def matmul(self, a: Tensor, b: Tensor, transpose_b: bool = False) -> Tensor:
        return a @ (b.transpose(-1, -2) if transpose_b else b)

    def linear(self, x: Tensor, name: str) -> Tensor:
        known = self._store.parameters
        weight = known[f"{name}.weight"]
        return F.linear(x.to(weight.dtype), weight, known.get(f"{name}.bias"))

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b

    def scale(self, x: Tensor, factor: float) -> Tensor:
        return x * factor

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])

    def transpose(self, x: Tensor, order: Sequence[int]) -> Tensor:
        return x.permute(*order)

    def softmax(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)

    def layer_norm(self, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def rms_norm(self, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        return (wide * weight.float()).to(x.dtype)

    def activate(self, x: Tensor, kind: str) -> Tensor:
        return _ACTIVATIONS[kind](x)

    def sum(self, x: Tensor, axis: int, keep: bool = False) -> Tensor:
        return x.float().sum(axis, keepdim=keep)

    def maximum(self, x: Tensor, axis: int) -> Tensor:
        return x.amax(axis)

    def square_root(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def concat(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), -1)

    def rotate_half(self, x: Tensor, width: int) -> Tensor:
        return torch.cat([-x[..., width // 2 :], x[..., : width // 2]], -1)

    def repeat(self, x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(times, 1)

    def first_rows(self, name: str, table: Array) -> Tensor:
        return self.constant(name, table)[None, None, : self.rows.shape[1]].to(self._store.dtype)

    def relative(self, bias: Relative) -> Tensor:
        return self._relative(bias, slice(None))

    def _relative(self, bias: Relative, queries: slice) -> Tensor:
        """(1, heads or 1, queries, L)"""
        values = self.parameter(bias.name).float() if bias.values is None else self.constant(bias.name, bias.values)
        places = torch.arange(self.rows.shape[1], device=self._store.device)
        return values[:, places[None, :] - places[queries, None] + values.shape[1] // 2][None]

    def visible(self, relative: Relative | None = None) -> Mask:
        """The bias is made where it is used, since it may not fit at once."""
        return Mask(relative)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Mask, groups: int) -> Tensor:
        relative: Relative | None = mask.bias
        n, heads, length, _ = q.shape
        grouped = groups > 1
        q, k, v = q.to(v.dtype), k.to(v.dtype), v
        if relative is None:
            seen = None if n == 1 else (self.mask > 0)[:, None, None, :]
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=1.0, enable_gqa=grouped)
        if relative.is_plainly_causal:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0, enable_gqa=grouped)
        rows = max(16, MASK_BYTES[q.device.type] // (4 * n * heads * length))
        if rows >= length:
            return self._attend_some(q, k, v, relative, slice(0, length), grouped)
        context = torch.empty_like(q)
        for first in range(0, length, rows):
            queries = slice(first, min(first + rows, length))
            context[:, :, queries] = self._attend_some(q, k, v, relative, queries, grouped)
        return context

    def _attend_some(self, q: Tensor, k: Tensor, v: Tensor, relative: Relative, queries: slice, gqa: bool) -> Tensor:
        """The context of these queries alone; their bias is freed on return."""
        bias = self._bias(relative, queries).to(q.dtype)
        q = self._unsloped(q[:, :, queries], relative)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0, enable_gqa=gqa)

    def _bias(self, relative: Relative, queries: slice) -> Tensor:
        """(n, heads or 1, queries, L), no intermediate as large as itself."""
        bias = self._relative(relative, queries)
        if relative.slopes is not None:
            bias = bias * self.constant("slopes", relative.slopes.reshape(1, -1, 1, 1))
        if len(self.mask) == 1:  # no padding beside a text alone
            return bias
        masked: Tensor = bias + (self.mask - 1)[:, None, None, :] * 1e7
        return masked

    def _unsloped(self, q: Tensor, relative: Relative) -> Tensor:
        """ALiBi's queries were divided by each head's slope (parameters.py); here the bias is multiplied instead."""
        if relative.slopes is None:
            return q
        return q * self.constant("slopes", relative.slopes.reshape(1, -1, 1, 1)).to(q.dtype)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}
