"""`Ops` that write an ONNX graph (opset 20), straight from the checkpoint's numbers, for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from embedserve.models.graph import vectors
from embedserve.models.ops import Array, Ops, Relative
from embedserve.models.spec import ModelSpec

OPSET, IR = 20, 9
INPUTS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("ids", "positions", "types", "back"), (TensorProto.INT32, 1)),
    **dict.fromkeys(("first", "last"), (TensorProto.INT32, 1)),
    "rows": (TensorProto.INT32, 2),
    **dict.fromkeys(("mask", "pooled", "places"), (TensorProto.FLOAT, 2)),
}
LARGEST = 1_900_000_000  # bytes of weights beside which a protobuf file ends


def build(spec: ModelSpec, parameters: Mapping[str, Array], target: Path) -> None:
    """Write the packed model: those of INPUTS that it needs -> `vectors` (n, dimension)."""
    ops = OnnxOps(parameters)
    last = vectors(ops, spec)
    ops.nodes.append(helper.make_node("Identity", [last], ["vectors"]))
    result = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [None, spec.dimension])
    graph = helper.make_graph(ops.nodes, "packed", list(ops.inputs.values()), [result], list(ops.initializers.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    size = sum(len(t.raw_data) for t in ops.initializers.values())
    if size > LARGEST:
        raise ValueError(f"{spec.id} has {size} bytes of weights, more than one ONNX file holds")
    onnx.save(model, str(target))


class OnnxOps(Ops):
    """A value is the name of a node's output."""

    def __init__(self, parameters: Mapping[str, Array]) -> None:
        self._parameters = parameters
        self.nodes: list[Any] = []
        self.inputs: dict[str, Any] = {}
        self.initializers: dict[str, Any] = {}
        self._longest_name = ""

    def __getattr__(self, name: str) -> str:
        if name not in INPUTS:
            raise AttributeError(name)
        if name not in self.inputs:
            kind, rank = INPUTS[name]
            sizes = [["tokens"], ["texts", "longest"]][rank - 1] if name not in ("first", "last") else ["texts"]
            self.inputs[name] = helper.make_tensor_value_info(name, kind, sizes)
        return name

    def _node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def _keep(self, name: str, values: npt.NDArray[Any]) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _integers(self, values: Sequence[int]) -> str:
        return self._keep(f"i{list(values)}", np.array(values, dtype=np.int64))

    def _number(self, value: float) -> str:
        return self._keep(f"f{value!r}", np.array(value, dtype=np.float32))

    def has(self, name: str) -> bool:
        return name in self._parameters

    def parameter(self, name: str) -> str:
        return self._keep(f"parameter {name}", self._parameters[name])

    def linear(self, x: str, name: str) -> str:
        """With the weight transposed: ONNX has no flag for it."""
        weight = self._keep(f"parameter {name}.weight, transposed", self._parameters[f"{name}.weight"].T)
        y: str = self._node("MatMul", [x, weight])
        return self.add(y, self.parameter(f"{name}.bias")) if self.has(f"{name}.bias") else y

    def constant(self, name: str, values: npt.NDArray[Any]) -> str:
        return self._keep(f"constant {name}", values)

    def gather(self, table: str, indices: str) -> Any:
        return self._node("Gather", [table, indices], axis=0)

    def matmul(self, a: str, b: str, transpose_b: bool = False) -> Any:
        return self._node("MatMul", [a, self.transpose(b, (0, 1, 3, 2)) if transpose_b else b])

    def add(self, a: str, b: str) -> Any:
        return self._node("Add", [a, b])

    def multiply(self, a: str, b: str) -> Any:
        return self._node("Mul", [a, b])

    def divide(self, a: str, b: str) -> Any:
        return self._node("Div", [a, b])

    def reshape(self, x: str, shape: Sequence[int]) -> Any:
        return self._node("Reshape", [x, self._integers(shape)])

    def transpose(self, x: str, order: Sequence[int]) -> Any:
        return self._node("Transpose", [x], perm=list(order))

    def softmax(self, x: str) -> Any:
        return self._node("Softmax", [x], axis=-1)

    def layer_norm(self, x: str, weight: str, bias: str | None, eps: float) -> Any:
        return self._node("LayerNormalization", [x, weight, *([bias] if bias else [])], axis=-1, epsilon=eps)

    def rms_norm(self, x: str, weight: str, eps: float) -> Any:
        squares = self._node("ReduceMean", [self.multiply(x, x), self._integers([-1])], keepdims=1)
        root = self._node("Sqrt", [self.add(squares, self._number(eps))])
        return self.multiply(self.divide(x, root), weight)

    def activate(self, x: str, kind: str) -> Any:
        if kind == "silu":
            return self.multiply(x, self._node("Sigmoid", [x]))
        if kind.startswith("gelu"):
            return self._node("Gelu", [x], approximate="tanh" if kind == "gelu_tanh" else "none")
        if kind == "identity":
            return x
        return self._node({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[kind], [x])

    def sum(self, x: str, axis: int, keep: bool = False) -> Any:
        return self._node("ReduceSum", [x, self._integers([axis])], keepdims=int(keep))

    def maximum(self, x: str, axis: int) -> Any:
        return self._node("ReduceMax", [x, self._integers([axis])], keepdims=0)

    def square_root(self, x: str) -> Any:
        return self._node("Sqrt", [x])

    def concat(self, parts: Sequence[str]) -> Any:
        return self._node("Concat", parts, axis=-1)

    def rotate_half(self, x: str, width: int) -> Any:
        one, two = self._node("Split", [x], outputs=2, axis=-1, num_outputs=2)
        return self.concat([self._node("Neg", [two]), one])

    def repeat(self, x: str, times: int) -> Any:
        """(n, heads, L, width): a new axis after the heads, widened, and folded into them."""
        n_heads = self._node("Unsqueeze", [x, self._integers([2])])
        wide = self._node("Expand", [n_heads, self._integers([1, 1, times, 1, 1])])
        shape = self._node("Shape", [x])
        factors = self._keep(f"times {times}", np.array([1, times, 1, 1], dtype=np.int64))
        return self._node("Reshape", [wide, self._node("Mul", [shape, factors])])

    def _longest(self) -> str:
        if not self._longest_name:
            shape = self._node("Shape", [self.rows])
            self._longest_name = self._node("Gather", [shape, self._integers([1])], axis=0)
        return self._longest_name

    def first_rows(self, name: str, table: Array) -> Any:
        whole = self._keep(f"table {name}", table[None, None])
        return self._node("Slice", [whole, self._integers([0]), self._longest(), self._integers([2])])

    def relative(self, bias: Relative) -> Any:
        values = self._parameters[bias.name] if bias.values is None else bias.values
        table = self._keep(f"relative {bias.name}", values)
        end = self._node("Squeeze", [self._longest(), self._integers([0])])
        zero, one = (self._keep(f"s{n}", np.array(n, dtype=np.int64)) for n in (0, 1))
        places = self._node("Range", [zero, end, one])
        columns = self._node("Unsqueeze", [places, self._integers([0])])
        lines = self._node("Unsqueeze", [places, self._integers([1])])
        middle = self._keep(f"middle {bias.name}", np.array(values.shape[1] // 2, dtype=np.int64))
        index = self._node("Add", [self._node("Sub", [columns, lines]), middle])
        return self._node("Unsqueeze", [self._node("Gather", [table, index], axis=1), self._integers([0])])
