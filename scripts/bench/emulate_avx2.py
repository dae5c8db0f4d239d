"""`embedserve optimize` as a CPU without AVX-512, VNNI and bf16 would do it, on one that has them: quality, not speed.

    ONEDNN_MAX_CPU_ISA=AVX2 EMBEDDING_HOME=FOLDER python scripts/bench/emulate_avx2.py [--weights 7|8] [--pairs 600]

oneDNN then uses AVX2's instructions for int8, 16-bit saturation included. OpenVINO's fp32 products come from another
library that goes on using AVX-512, so the printed ratio of speeds is too low by about the half.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys

from rich.console import Console

from embedserve.errors import ArtefactError
from embedserve.machine import cpu
from embedserve.models import sources
from embedserve.optimizing import quantize
from embedserve.optimizing.optimize import optimize
from embedserve.settings import load_settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--weights", type=int, choices=[7, 8], default=7)
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=600)
    args = parser.parse_args()
    if os.environ.get("ONEDNN_MAX_CPU_ISA") != "AVX2":
        raise SystemExit("set ONEDNN_MAX_CPU_ISA=AVX2: the library reads it as it is loaded")
    features = cpu.CpuFeatures("emulated AVX2", False, False, ())
    cpu.features = lambda: features  # type: ignore[assignment]
    if args.weights == 8:
        quantize.quantize = functools.partial(_eight_bits, quantize.quantize)
    home = load_settings().home
    source = sources.resolve(args.model, home=home)
    console = Console(file=sys.stdout)
    try:
        optimize(source, home, calibrate=None, texts=args.texts, pairs=args.pairs, threads=2, console=console)
    except ArtefactError as error:
        print(error.message)
    return 0


def _eight_bits(quantise, *args, saturates):  # type: ignore[no-untyped-def]
    return quantise(*args, saturates=False)


if __name__ == "__main__":
    sys.exit(main())
