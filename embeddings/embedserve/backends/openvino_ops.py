"""`Ops` that write an OpenVINO graph, straight from the checkpoint's numbers: neither torch nor transformers is needed.

What the CPU plugin fuses decides the form: softmax((q kT + bias) * slope) v as these five nodes is one operation;
hidden states of rank 3, (1, tokens, width), let norms and activations join the matrix products before them.

A bias that depends on the distance alone is an input (packing.py makes it): a graph that makes it by itself holds it
twice, 0.5 GB for 8,192 tokens in each stream, and keeps that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
from openvino import Model, Type, opset13

from embedserve.models.graph import vectors
from embedserve.models.ops import Array, Mask, Ops, Relative
from embedserve.models.spec import ModelSpec

A = Any
INPUTS: dict[str, tuple[Type, int]] = {
    "ids": (Type.i32, 1),
    "positions": (Type.i32, 1),
    "types": (Type.i32, 1),
    "rows": (Type.i32, 2),
    "back": (Type.i32, 1),
    "mask": (Type.f32, 2),
    "pooled": (Type.f32, 2),
    "places": (Type.f32, 2),
    "first": (Type.i32, 1),
    "last": (Type.i32, 1),
}


def build(spec: ModelSpec, parameters: Mapping[str, Array]) -> Model:
    """The packed model: those of INPUTS that it needs -> (n, dimension) float32."""
    ops = OpenVinoOps(parameters)
    result = opset13.result(vectors(ops, spec))
    return Model([result], list(ops.inputs.values()), spec.id)


class OpenVinoOps(Ops):
    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self._parameters = parameters
        self._known: dict[str, A] = {}
        self.inputs: dict[str, A] = {}

    def __getattr__(self, name: str) -> A:
        """An input becomes one when it is first used."""
        if name not in INPUTS:
            raise AttributeError(name)
        return self._input(name, *INPUTS[name])

    def _input(self, name: str, kind: Type, rank: int) -> A:
        if name not in self.inputs:
            node = opset13.parameter(openvino.PartialShape([-1] * rank), kind, name=name)
            node.output(0).set_names({name})
            self.inputs[name] = node
        return self.inputs[name]

    def has(self, name: str) -> bool:
        return name in self._parameters

    def parameter(self, name: str) -> A:
        if name not in self._known:
            self._known[name] = opset13.constant(np.ascontiguousarray(self._parameters[name]), name=name)
        return self._known[name]

    def constant(self, name: str, values: npt.NDArray[Any]) -> A:
        if name not in self._known:
            self._known[name] = opset13.constant(values)
        return self._known[name]

    def _integers(self, values: Sequence[int]) -> A:
        return opset13.constant(np.array(values, dtype=np.int64))

    def gather(self, table: A, indices: A) -> A:
        return opset13.gather(table, indices, self._integers([0]))

    def matmul(self, a: A, b: A, transpose_b: bool = False) -> A:
        return opset13.matmul(a, b, False, transpose_b)

    def add(self, a: A, b: A) -> A:
        return opset13.add(a, b)

    def multiply(self, a: A, b: A) -> A:
        return opset13.multiply(a, b)

    def divide(self, a: A, b: A) -> A:
        return opset13.divide(a, b)

    def reshape(self, x: A, shape: Sequence[int]) -> A:
        return opset13.reshape(x, self._integers(shape), True)

    def transpose(self, x: A, order: Sequence[int]) -> A:
        return opset13.transpose(x, self._integers(order))

    def softmax(self, x: A) -> A:
        return opset13.softmax(x, -1)

    def layer_norm(self, x: A, weight: A, bias: A | None, eps: float) -> A:
        y = opset13.multiply(opset13.mvn(x, self._integers([-1]), True, eps, "INSIDE_SQRT"), weight)
        return y if bias is None else opset13.add(y, bias)

    def rms_norm(self, x: A, weight: A, eps: float) -> A:
        squares = opset13.reduce_mean(opset13.power(x, np.float32(2)), self._integers([-1]), True)
        root = opset13.sqrt(opset13.add(squares, opset13.constant(np.array(eps, np.float32))))
        return opset13.multiply(opset13.multiply(x, opset13.divide(np.float32(1), root)), weight)

    def activate(self, x: A, kind: str) -> A:
        return _ACTIVATIONS[kind](x)

    def sum(self, x: A, axis: int, keep: bool = False) -> A:
        return opset13.reduce_sum(x, self._integers([axis]), keep)

    def maximum(self, x: A, axis: int) -> A:
        return opset13.reduce_max(x, self._integers([axis]), False)

    def square_root(self, x: A) -> A:
        return opset13.sqrt(x)

    def concat(self, parts: Sequence[A]) -> A:
        return opset13.concat(list(parts), -1)

    def rotate_half(self, x: A, width: int) -> A:
        half = self._integers([width // 2, width - width // 2])
        halves = opset13.variadic_split(x, opset13.constant(np.array(-1, np.int64)), half)
        return opset13.concat([opset13.multiply(halves.output(1), np.float32(-1)), halves.output(0)], -1)

    def repeat(self, x: A, times: int) -> A:
        count = x.get_output_partial_shape(0)[1].get_length()
        order = np.repeat(np.arange(count), times)
        return opset13.gather(x, self._integers(order.tolist()), self._integers([1]))

    def _longest(self) -> A:
        """L, as a vector of one int64."""
        if "L" not in self._known:
            shape = opset13.shape_of(self.rows, Type.i64)
            self._known["L"] = opset13.gather(shape, self._integers([1]), self._integers([0]))
        return self._known["L"]

    def first_rows(self, name: str, table: Array) -> A:
        whole = opset13.constant(table[None, None], name=name)
        return opset13.slice(whole, self._integers([0]), self._longest(), self._integers([1]), self._integers([2]))

    def visible(self, relative: Relative | None = None) -> Mask:
        if relative is None or relative.values is None:
            return super().visible(relative)
        return Mask(self._input(relative.name, Type.f32, 4), self.slopes(relative))

    def relative(self, bias: Relative) -> A:
        values = self._parameters[bias.name]
        table = opset13.constant(np.ascontiguousarray(values))
        if "distance" not in self._known:
            end = opset13.convert(opset13.squeeze(self._longest(), self._integers([0])), Type.i32)
            places = opset13.range(np.int32(0), end, np.int32(1), Type.i32)
            columns = opset13.unsqueeze(places, self._integers([0]))
            lines = opset13.unsqueeze(places, self._integers([1]))
            self._known["distance"] = opset13.subtract(columns, lines)
        index = opset13.add(self._known["distance"], opset13.constant(np.array(values.shape[1] // 2, np.int32)))
        found = opset13.gather(table, index, self._integers([1]))  # (heads or 1, L, L)
        return opset13.unsqueeze(found, self._integers([0]))


_ACTIVATIONS = {
    "gelu": lambda x: opset13.gelu(x, "ERF"),
    "gelu_tanh": lambda x: opset13.gelu(x, "TANH"),
    "relu": opset13.relu,
    "silu": lambda x: opset13.swish(x),
    "tanh": opset13.tanh,
    "sigmoid": opset13.sigmoid,
    "identity": lambda x: x,
}
