"""What an architecture states (`Architecture`), and small helpers to read config.json with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from embedserve.models.encoder import Encoder
from embedserve.models.ops import ACTIVATIONS

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One of `of` equal parts, along the outputs, of a tensor that holds several."""

    name: str
    index: int
    of: int


Layout = Mapping[str, str | Part]  # canonical prefix -> the checkpoint's; `{i}` is the layer


@dataclass(frozen=True)
class Head:
    """A classification head: on the pooled hidden state, `dense`, an activation, a norm, then `out`.

    Names are the checkpoint's prefixes; "" where the head has no such step.
    """

    out: str
    dense: str = ""
    activation: str = "tanh"
    norm: str = ""
    pooling: str = "cls"


@dataclass(frozen=True)
class Architecture:
    """layouts: the first whose tensors are there is taken. prefixes: may stand before every name. unused: beginnings
    of names that no embedding needs (heads of other tasks). heads: config -> the head of a cross-encoder."""

    name: str
    title: str  # as a person calls it
    matches: Callable[[Config], bool]
    read: Callable[[Config], Encoder]
    layouts: tuple[Layout, ...]
    prefixes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    heads: Callable[[Config], Head] | None = None
    dtypes: tuple[str, ...] = ("fp32", "bf16", "fp16", "int8")
    why_not: str = ""  # why a dtype is missing from the list


class Unsupported(ValueError):
    """A config that is of this architecture and asks for something that we do not have. The message names it."""


_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "geglu": "gelu",
    "tanh": "tanh",
}


def activation(name: Any) -> str:
    """transformers' name of an activation as ours. Raises Unsupported."""
    found = _ACTIVATIONS.get(str(name))
    if found not in ACTIVATIONS:
        raise Unsupported(f"activation {name!r}")
    return found


def require(config: Config, **wanted: Any) -> None:
    """Raises Unsupported where a field is there and is another value."""
    for name, value in wanted.items():
        if config.get(name, value) != value:
            raise Unsupported(f"{name} = {config[name]!r} (only {value!r} is)")


def theta(config: Config, name: str, default: float, layer_type: str | None = None) -> float:
    """The rotary base, in either of transformers' two notations. Raises Unsupported for scaled rotary embeddings."""
    parameters = config.get("rope_parameters") or {}
    if layer_type is not None:
        parameters = parameters.get(layer_type) or {}
    scaling = config.get("rope_scaling") or {}
    for given in (parameters, scaling):
        kind = given.get("rope_type", given.get("type", "default"))
        if kind != "default":
            raise Unsupported(f"rotary embeddings of type {kind!r}")
    found = parameters.get("rope_theta") or config.get(name)
    return float(found) if found else default
