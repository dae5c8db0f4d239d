"""This machine's matrix-product rate: the ceiling for an embedding model, in GFLOP/s by precision.

    python scripts/bench/matmul_rate.py [--json] [--precision bf16] [--shape jina|minilm]

Plain products of the model's own shapes (hidden x hidden, hidden x inner, inner x hidden) by OpenVINO (oneDNN
kernels) and nothing between them: no attention, no norms, no GELU. One product stream per core, as the backend
runs; the best pass over several token counts and repetitions counts, so that other work on the machine
disturbs little. A precision that the CPU has not natively is left out. The model's share of this rate is
reckoned with the FLOPs of its real tokens (embedserve/bench/shapes.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time

from embedserve.machine import cpu  # before OpenVINO: our package keeps it from reporting its import

# isort: split
import numpy as np
import openvino
from openvino import opset13 as op

SHAPES = {"jina": (768, 3072, 6144), "minilm": (384, 1536, 1536)}  # hidden, inner, width of the up matrix
TOKENS = (256, 512, 1024)
LAYERS = 4


def chain(precision: str, shape: str) -> tuple[openvino.Model, int]:
    """A model of LAYERS x (4 square products, up, down), and its FLOPs a token."""
    hidden, inner, up = SHAPES[shape]
    pick = np.random.default_rng(0)

    def product(x: object, rows: int, columns: int) -> object:
        weights = op.constant(pick.standard_normal((rows, columns), dtype=np.float32) * 0.02)
        if precision == "int8":
            one, scale = np.float32(1), np.full((rows, 1), 0.08, np.float32)
            x = op.fake_quantize(x, -one, one, -one, one, 256)
            weights = op.fake_quantize(weights, -scale, scale, -scale, scale, 255)
        return op.matmul(x, weights, False, True)

    x = parameter = op.parameter([-1, hidden], np.float32)
    for _ in range(LAYERS):
        for _ in range(4):
            x = product(x, hidden, hidden)
        x = product(x, up, hidden)
        if up != inner:  # GEGLU's two halves
            x = op.slice(x, np.array([0]), np.array([inner]), np.array([1]), np.array([1]))
        x = product(x, hidden, inner)
    return openvino.Model([x], [parameter]), 2 * LAYERS * (4 * hidden * hidden + up * hidden + inner * hidden)


def rate(precision: str, shape: str, threads: int, seconds: float) -> float:
    """GFLOP/s of all threads together: the sum of each one's best pass."""
    model, flops = chain(precision, shape)
    hint = "f32" if precision == "fp32" or not cpu.features().bf16 else "bf16"
    options = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(model, "CPU", options)
    best = [0.0] * threads

    def run(thread: int) -> None:
        request = compiled.create_infer_request()
        inputs = [np.full((n, SHAPES[shape][0]), 0.1, np.float32) for n in TOKENS]
        for x in inputs:
            request.infer([x])  # kernels are compiled here
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for x in inputs:
                start = time.perf_counter()
                request.infer([x], share_inputs=True)
                best[thread] = max(best[thread], len(x) * flops / (time.perf_counter() - start))

    workers = [threading.Thread(target=run, args=(i,)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(best) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help='{"fp32": GFLOP/s, ...} on stdout')
    parser.add_argument("--precision", choices=["fp32", "bf16", "int8"], action="append")
    parser.add_argument("--shape", choices=list(SHAPES), default="jina")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each precision")
    args = parser.parse_args()
    precisions = args.precision or (["fp32", "bf16", "int8"] if cpu.features().bf16 else ["fp32", "int8"])
    threads = cpu.usable_cores()
    rates = {p: round(rate(p, args.shape, threads, args.seconds), 1) for p in precisions}
    if args.json:
        print(json.dumps(rates))
    else:
        print(f"{cpu.features().name}, {threads} threads, products of the {args.shape} shape")
        for precision, value in rates.items():
            print(f"{precision}  {value:7.0f} GFLOP/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
