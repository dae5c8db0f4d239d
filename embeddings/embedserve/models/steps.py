"""From hidden states to one vector a text: sentence-transformers' modules after the Transformer, as a tuple of steps.

    Pool      one or more of MODES, concatenated (Pooling)
    Dense     act(W x + b), with a residual where the module has one (Dense)
    Norm      LayerNorm of the vector (LayerNorm)
    Normalize to length 1 (Normalize). The engine normalises every row at the end whatever the steps say.

Stated once, run by every library through `Ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from embedserve.models.ops import PADDING, Ops, V

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@dataclass(frozen=True)
class Pool:
    modes: tuple[str, ...] = ("mean",)
    include_prompt: bool = True

    def __str__(self) -> str:
        return f"pooling {' + '.join(self.modes)}" + ("" if self.include_prompt else " (without the prompt's tokens)")


@dataclass(frozen=True)
class Dense:
    """path: the module's folder inside the model's, where its weights are; "": they are tensors of the checkpoint
    itself that begin with `tensor` (a classification head's)."""

    path: str
    into: int
    out: int
    bias: bool
    activation: str
    residual: bool = False
    tensor: str = ""

    def __str__(self) -> str:
        return f"dense {self.into} → {self.out}" + ("" if self.activation == "identity" else f", {self.activation}")


@dataclass(frozen=True)
class Norm:
    path: str
    width: int
    eps: float = 1e-5
    bias: bool = True
    tensor: str = ""

    def __str__(self) -> str:
        return "layer norm"


@dataclass(frozen=True)
class Normalize:
    def __str__(self) -> str:
        return "normalise"


Step = Pool | Dense | Norm | Normalize
MEAN: tuple[Step, ...] = (Pool(),)


def shapes(steps: Sequence[Step]) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Parameter -> (folder, tensor, shape) of every step that has weights."""
    found: dict[str, tuple[str, str, tuple[int, ...]]] = {}
    for k, step in enumerate(steps):
        if isinstance(step, Dense):
            at = step.tensor or "linear"
            found[f"steps.{k}.weight"] = (step.path, f"{at}.weight", (step.out, step.into))
            if step.bias:
                found[f"steps.{k}.bias"] = (step.path, f"{at}.bias", (step.out,))
            if step.residual and step.into != step.out:
                found[f"steps.{k}.residual.weight"] = (step.path, "residual.weight", (step.out, step.into))
        elif isinstance(step, Norm):
            at = step.tensor or "norm"
            found[f"steps.{k}.weight"] = (step.path, f"{at}.weight", (step.width,))
            if step.bias:
                found[f"steps.{k}.bias"] = (step.path, f"{at}.bias", (step.width,))
    return found


def dimension(steps: Sequence[Step], width: int) -> int:
    """Of the vectors that come out of the steps."""
    for step in steps:
        if isinstance(step, Pool):
            width *= len(step.modes)
        elif isinstance(step, Dense):
            width = step.out
    return width


def check(steps: Sequence[Step], width: int) -> None:
    """ValueError where a step does not fit the one before it, or nothing is pooled."""
    pooled = False
    for step in steps:
        if isinstance(step, Pool):
            if pooled:
                raise ValueError("two Pooling modules")
            pooled, width = True, width * len(step.modes)
        elif not pooled:
            raise ValueError(f"{step} stands before the pooling")
        elif isinstance(step, Dense):
            if step.into != width:
                raise ValueError(f"{step} stands where {width} numbers come in")
            width = step.out
    if not pooled:
        raise ValueError("no Pooling module")


def run(ops: Ops, h: V, steps: Sequence[Step], width: int) -> V:
    """h (1, T, width) -> (n, dimension). Parameters of step k are called `steps.k...`."""
    x = ops.reshape(h, (-1, width))
    for k, step in enumerate(steps):
        if isinstance(step, Pool):
            parts = [pool(ops, x, mode) for mode in step.modes]
            x = parts[0] if len(parts) == 1 else ops.concat(parts)
        elif isinstance(step, Dense):
            y = ops.activate(ops.linear(x, f"steps.{k}"), step.activation)
            if step.residual:
                y = ops.add(y, x if step.into == step.out else ops.linear(x, f"steps.{k}.residual"))
            x = y
        elif isinstance(step, Norm):
            x = ops.normed(x, f"steps.{k}", step.eps)
        else:
            squares = ops.sum(ops.multiply(x, x), 1, keep=True)
            x = ops.divide(x, ops.square_root(ops.add(squares, ops.constant("tiny", np.array(1e-24, np.float32)))))
    return x


def pool(ops: Ops, x: V, mode: str) -> V:
    """x (T, width) -> (n, width)."""
    if mode == "cls":
        return ops.gather(x, ops.first)
    if mode == "lasttoken":
        return ops.gather(x, ops.last)
    rectangle = ops.gather(x, ops.rows)  # (n, L, width)
    mask = ops.places if mode == "weightedmean" else ops.pooled  # (n, L)
    if mode == "max":
        absent = ops.scale(ops.add(mask, ops.constant("minus one", np.array(-1, np.float32))), -PADDING)
        return ops.maximum(ops.add(rectangle, ops.reshape(absent, (0, -1, 1))), 1)
    total = ops.sum(mask, 1, keep=True)
    if mode == "mean_sqrt_len_tokens":
        total = ops.square_root(total)
    weights = ops.reshape(ops.divide(mask, total), (0, -1, 1))
    return ops.sum(ops.multiply(rectangle, weights), 1)
