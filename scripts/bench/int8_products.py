"""What int8 gains over fp32 in plain products on this CPU, by library: GFLOP/s of one thread, and the ratio to fp32.

    python scripts/bench/int8_products.py [--shape minilm|jina] [--seconds 1.5]
    scripts/bench/avx2_only.sh python scripts/bench/int8_products.py

One layer's products (four square, up, down), each alone, 512 rows, activations and results in float32 as between a
model's layers, so quantising the activations is in the time. Turns are interleaved; the best pass of each counts.

- openvino: static int8, as `embedserve optimize` makes it; openvino dynamic: int8 weights alone, activations
  quantised as they come (DYNAMIC_QUANTIZATION_GROUP_SIZE).
- onnx u8s8, onnx u8u8: ONNX Runtime's DynamicQuantizeLinear and MatMulInteger, weights signed and unsigned.
- torch: its dynamically quantised Linear (FBGEMM).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from embedserve.machine import cpu  # before OpenVINO: our package keeps it from reporting its import

# isort: split
import numpy as np
import onnxruntime
import openvino
import torch
from matmul_rate import SHAPES
from onnx import TensorProto, helper, numpy_helper
from openvino import opset13 as op

ROWS = 512
Call = Callable[[np.ndarray], object]


def openvino_call(weights: np.ndarray, how: str) -> Call:
    x = parameter = op.parameter([-1, weights.shape[1]], np.float32)
    one, scale = np.float32(1), np.full((len(weights), 1), 0.08, np.float32)
    options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}
    if how == "static":
        x = op.fake_quantize(x, -one, one, -one, one, 256)
        w = op.fake_quantize(op.constant(weights), -scale, scale, -scale, scale, 255)
    elif how == "dynamic":
        whole = op.constant(np.clip(np.rint(weights / scale * 127), -127, 127).astype(np.int8))
        w = op.multiply(op.convert(whole, np.float32), op.constant(scale / 127))
        options["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = weights.shape[1]
    else:
        w = op.constant(weights)
    model = openvino.Model([op.matmul(x, w, False, True)], [parameter])
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda rows: request.infer([rows], share_inputs=True, share_outputs=True)


def onnx_call(weights: np.ndarray, how: str) -> Call:
    columns, inner = weights.shape
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in
            (("x", [None, inner]), ("y", [None, columns]))]  # fmt: skip
    if how == "fp32":
        nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
        constants = [numpy_helper.from_array(np.ascontiguousarray(weights.T), "w")]
    else:
        signed = np.clip(np.rint(weights.T / 0.08 * 127), -127, 127)
        whole = signed.astype(np.int8) if how == "u8s8" else (signed + 128).astype(np.uint8)
        zero = np.zeros((), np.int8) if how == "u8s8" else np.full((), 128, np.uint8)
        scale = np.float32(0.08 / 127)
        constants = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in
                     (("w", whole), ("zero", zero), ("scale", np.asarray(scale)))]  # fmt: skip
        nodes = [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
            helper.make_node("MatMulInteger", ["xq", "w", "xz", "zero"], ["sums"]),
            helper.make_node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["xs", "scale"], ["both"]),
            helper.make_node("Mul", ["real", "both"], ["y"]),
        ]
    graph = helper.make_graph(nodes, "product", info[:1], info[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda rows: session.run(None, {"x": rows})


def torch_call(weights: np.ndarray, how: str) -> Call:
    torch.set_num_threads(1)
    linear = torch.nn.Linear(weights.shape[1], len(weights))
    linear.weight = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    whole: torch.nn.Module = torch.nn.Sequential(linear)
    if how == "int8":
        whole = torch.ao.quantization.quantize_dynamic(whole, {torch.nn.Linear}, dtype=torch.qint8)

    def call(rows: np.ndarray) -> object:
        with torch.inference_mode():
            return whole(torch.from_numpy(rows))

    return call


WAYS: dict[str, tuple[Callable[[np.ndarray, str], Call], str]] = {
    "openvino fp32": (openvino_call, "fp32"),
    "openvino int8": (openvino_call, "static"),
    "openvino int8 dynamic": (openvino_call, "dynamic"),
    "onnx fp32": (onnx_call, "fp32"),
    "onnx u8s8": (onnx_call, "u8s8"),
    "onnx u8u8": (onnx_call, "u8u8"),
    "torch fp32": (torch_call, "fp32"),
    "torch int8": (torch_call, "int8"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=list(SHAPES), default="minilm")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each product of each library")
    args = parser.parse_args()
    hidden, inner, up = SHAPES[args.shape]
    pick = np.random.default_rng(0)
    products = [(4, hidden, hidden), (1, up, hidden), (1, hidden, inner)]  # how often, columns, inner size
    seconds = dict.fromkeys(WAYS, 0.0)
    for count, columns, size in products:
        weights = (pick.standard_normal((columns, size)) * 0.02).astype(np.float32)
        rows = pick.uniform(-1, 1, (ROWS, size)).astype(np.float32)
        calls = {way: make(weights, how) for way, (make, how) in WAYS.items()}
        best = dict.fromkeys(WAYS, float("inf"))
        until = time.perf_counter() + args.seconds * len(WAYS)
        while time.perf_counter() < until:
            for way, call in calls.items():
                start = time.perf_counter()
                call(rows)
                best[way] = min(best[way], time.perf_counter() - start)
        for way in WAYS:
            seconds[way] += count * best[way]
    flops = 2 * ROWS * sum(count * columns * size for count, columns, size in products)
    print(f"{cpu.features().name} ({cpu.features().kind}), 1 thread, {ROWS} rows, products of the {args.shape} shape")
    for way, taken in seconds.items():
        rate = flops / taken / 1e9
        print(f"{way:22} {rate:6.0f} GFLOP/s   {seconds['openvino fp32'] / taken:.2f} x openvino fp32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
