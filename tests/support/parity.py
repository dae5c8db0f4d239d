"""How far each architecture is from the sentence-transformers library, on tiny random checkpoints of its own making.

    PYTHONPATH=embeddings python tests/support/parity.py                  # every cell, some minutes (int8 quantises)
    PYTHONPATH=embeddings python tests/support/parity.py gemma3_text qwen3 --markdown

A row is an architecture and a pooling, a column a backend and precision. A cell is 1 - cosine, the worst of seven texts
(one of them beyond every window and limit); the second number is how far a text alone is from the same text in a mixed
batch. jina's own code does not run with today's transformers: its reference is the formulas in float64 NumPy.
bf16 only where the CPU has it: emulated it would say nothing of what is served.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "scripts" / "bench")]

from embedserve.backends.select import load_backend
from embedserve.machine import cpu
from embedserve.models.sources import resolve
from embedserve.models.tokenizer import load_tokenizer
from support.tiny_models import TEXTS, fast_tokenizer, sentence_transformer

CASES = (
    ("bert", "mean"),
    ("bert", "cls"),
    ("bert", ("cls", "max", "mean_sqrt_len_tokens")),
    ("roberta", "mean"),
    ("xlm-roberta", "mean"),
    ("xlm-roberta", "cls"),
    ("distilbert", "mean"),
    ("mpnet", "mean"),
    ("modernbert", "cls"),
    ("modernbert", "mean"),
    ("nomic_bert", "mean"),
    ("nomic_bert", "cls"),
    ("gte", "cls"),
    ("gemma3_text", "mean"),
    ("gemma3_text", "weightedmean"),
    ("qwen3", "lasttoken"),
)
OTHERS = (("jina_bert", "mean"), ("static", "mean"))  # rows whose reference is made in another way
FP32 = 1e-6  # the bound on 1 - cosine that the project promises; what is seen is 1e-12
BF16 = 2e-2  # random weights, wide: trained ones stay below 1e-3
INT8 = 0.1
CALIBRATION = 24  # texts: enough for so small a model


@dataclass(frozen=True)
class Cell:
    """distance: 1 - cosine, the worst text. batch: largest difference of a unit vector's number, alone and mixed."""

    distance: float
    batch: float

    def __str__(self) -> str:
        return f"{self.distance:.0e} / {self.batch:.0e}"


def unit(rows: Any) -> Any:
    rows = np.asarray(rows, dtype=np.float64)  # or 1 - cosine would be float32's own rounding
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def columns(int8: bool = False) -> list[tuple[str, str]]:
    bf16 = [("openvino", "bf16"), ("torch", "bf16")] if cpu.features().bf16 else []
    quantised = [("openvino", "int8")] if int8 and importlib.util.find_spec("nncf") else []
    return [("openvino", "fp32"), ("torch", "fp32"), ("onnx", "fp32"), *bf16, *quantised]


def reference(kind: str, pooling: Any, folder: Path, **options: Any) -> Any:
    """Unit vectors of TEXTS from the library; the model is in folder/st."""
    if kind == "jina_bert":
        return _jina(folder / "st")
    if kind == "static":
        return _static(folder / "st")
    return unit(sentence_transformer(kind, folder, pooling, **options).encode(TEXTS))


def _jina(folder: Path) -> Any:
    from safetensors.numpy import load_file

    from support import jina_numpy
    from support.checkpoints import tiny_jina

    tiny_jina(folder, files=1)
    config, state = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    ids = [e.ids for e in load_tokenizer(resolve(str(folder), home=folder.parent)).encode(TEXTS)]
    return unit(np.stack([jina_numpy.embed(config, state, one) for one in ids]))


def _static(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = fast_tokenizer("bert")
    table = np.random.default_rng(0).standard_normal((len(tokenizer), 16), dtype=np.float32)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, table)], device="cpu")
    model.save(str(folder), create_model_card=False)
    return unit(model.encode(TEXTS))


def cell(wanted: Any, folder: Path, home: Path, backend: str, precision: str) -> Cell:
    source = resolve(str(folder / "st"), home=home)
    ids = [e.ids for e in load_tokenizer(source).encode(TEXTS)]
    if precision == "int8":
        quantise(source, home)
    loaded = load_backend(source, backend=backend, precision=precision, home=home)
    try:
        together = unit(loaded.embed(ids))
        alone = unit(np.concatenate([loaded.embed([one]) for one in ids]))
    finally:
        loaded.close()
    return Cell(max(0.0, float(1 - (together * wanted).sum(1).min())), float(abs(together - alone).max()))


def quantise(source: Any, home: Path) -> Any:
    """The int8 artefact as `embedserve optimize --no-guard` makes it: random weights cannot be judged."""
    from rich.console import Console

    from embedserve.optimizing.optimize import optimize

    quiet = Console(quiet=True)
    return optimize(source, home, calibrate=None, texts=CALIBRATION, pairs=0, threads=2, console=quiet)


def row(kind: str, pooling: Any, names: list[tuple[str, str]]) -> list[str]:
    """The cells of one model; "–" where a precision is not the model's."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = reference(kind, pooling, Path(scratch))
        if kind == "static":
            found = str(cell(wanted, Path(scratch), Path(scratch), "auto", "fp32"))
            return [found, *["–"] * (len(names) - 1)]
        return [str(cell(wanted, Path(scratch), Path(scratch), *name)) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help="architectures; all when left out")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    names = columns(int8=True)
    heads = ["1 - cosine / alone against mixed", *(" ".join(name) for name in names)]
    widths = [36, *[19] * len(names)]
    print(_line(heads, widths, args.markdown))
    if args.markdown:
        print("|".join(["", *["---"] * len(heads), ""]))
    for kind, pooling in (*CASES, *OTHERS):
        if args.kinds and kind not in args.kinds:
            continue
        shown = pooling if isinstance(pooling, str) else " + ".join(pooling)
        print(_line([f"{kind} {shown}", *row(kind, pooling, names)], widths, args.markdown), flush=True)


def _line(cells: list[str], widths: list[int], markdown: bool) -> str:
    if markdown:
        return f"| {' | '.join(cells)} |"
    return "".join(f"{text:{width}}" for text, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    main()
