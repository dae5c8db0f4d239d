"""Where a micro-batch's time goes: the share of each kind of operation, as OpenVINO's own counters have it.

    python scripts/bench/operations.py --model M --precision P [--batches 20]

One thread, batches of about 1,024 tokens of the clients' mix, cut as the server cuts them. The products' share times
their own rate is what the model can reach of the machine's rate of products (backends.md).
"""

from __future__ import annotations

import argparse
from collections import Counter

from bare_backend import Bare

from embedserve.backends import convert
from embedserve.backends.artefacts import find
from embedserve.backends.biases import Biases
from embedserve.backends.openvino_backend import computes_bf16
from embedserve.backends.packing import pack
from embedserve.models import sources
from embedserve.models.encoder import biases
from embedserve.models.graph import encoder_of
from embedserve.settings import load_settings


def shares(model: str, precision: str, batches: int) -> tuple[Counter[str], float]:
    """Microseconds by kind of operation, and all of them in seconds a batch."""
    import openvino  # after our package, which keeps it from reporting to its makers

    home = load_settings().home
    source = sources.resolve(model, home=home)
    artefact = find(source, precision, home) or convert.artefact(source, precision, home)
    bf16 = computes_bf16() and precision != "fp32"
    options = {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32", "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    compiled = openvino.Core().compile_model(artefact.model, "CPU", options)
    relative = Biases(biases(encoder_of(source.spec)))
    names, request = [i.get_any_name() for i in compiled.inputs], compiled.create_infer_request()
    bare = Bare(model, precision)
    chosen = [batch for batch in next(bare.waves) if sum(map(len, batch)) > 512][:batches]
    found: Counter[str] = Counter()
    for again in range(2):  # the first time compiles kernels
        for batch in chosen:
            feed = pack(batch, biases=relative)
            request.infer({name: feed[name] for name in names}, share_inputs=True, share_outputs=True)
            for entry in request.profiling_info if again else []:
                found[entry.node_type] += int(entry.real_time.total_seconds() * 1e6)
    return found, found.total() / 1e6 / len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="int8", choices=["fp32", "bf16", "int8"])
    parser.add_argument("--batches", type=int, default=20)
    args = parser.parse_args()
    found, seconds = shares(args.model, args.precision, args.batches)
    print(f"{args.model} {args.precision}: {seconds * 1000:.1f} ms a batch")
    for kind, microseconds in found.most_common():
        if microseconds > found.total() / 1000:
            print(f"{100 * microseconds / found.total():6.1f} %  {kind}")


if __name__ == "__main__":
    main()
