"""The bare backends on length-sorted micro-batches: no HTTP, no JSON, no tokenising.

    python scripts/bench/backend_speed.py MODEL [--texts 600] [--rounds 3] [--variant openvino/bf16 ...]

Texts have the clients' lengths (half up to 130 characters, one in twenty over 890; about 66 tokens on
average), as random token ids: speed does not depend on their meaning. Variants are interleaved: every round
runs each once. `naive` is what the original service did: transformers fp32, batches of 16 in arrival order,
padded to the longest. Reported are medians, the share of the matrix-product rate (matmul_rate.py) by FLOPs of
real tokens, CPU seconds, and peak memory so far in this process.
"""

from __future__ import annotations

import argparse
import queue
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matmul_rate import rate

from embedserve.backends import cpu
from embedserve.backends.base import TokenIds
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from embedserve.models.spec import ModelSource
from embedserve.settings import load_settings

Run = Callable[[], None]
DEFAULT = ("naive", "openvino/fp32", "openvino/bf16", "openvino/int8")


def client_ids(count: int, limit: int) -> list[TokenIds]:
    """Token ids of the clients' lengths: log-normal, median 42, mean about 66 tokens."""
    pick = np.random.default_rng(1)
    lengths = np.clip(np.exp(pick.normal(np.log(42), 0.95, count)).astype(int), 6, limit)
    return [pick.integers(1000, 20000, n).astype(np.int32) for n in lengths]


def flops(source: ModelSource, ids: list[TokenIds]) -> float:
    """Of the linear layers and of attention, for real tokens."""
    from embedserve.models.folder import read_config

    config = read_config(source.folder)
    width, inner, layers = (config[k] for k in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    matrices = 4 * width * width + (3 if source.spec.architecture == "jina_bert" else 2) * width * inner
    return float(sum(len(s) * layers * (2 * matrices + 4 * width * len(s)) for s in ids))


def micro_batches(ids: list[TokenIds], tokens: int, texts: int) -> list[list[TokenIds]]:
    """Sorted by length, longest first, of at most so many tokens and texts."""
    batches: list[list[TokenIds]] = []
    size = 0
    for sequence in sorted(ids, key=len, reverse=True):
        if not batches or size + len(sequence) > tokens or len(batches[-1]) == texts:
            batches.append([])
            size = 0
        batches[-1].append(sequence)
        size += len(sequence)
    return batches


def prepared(source: ModelSource, variant: str, ids: list[TokenIds], args: argparse.Namespace) -> Run:
    name, _, precision = variant.partition("/")
    backend = load_backend(source, backend=name, precision=precision, home=args.home)
    print(f"  {variant}: {backend.info.why}", file=sys.stderr)
    tokens, texts = args.tokens or backend.info.best_batch_tokens, args.batch or backend.info.best_batch_texts
    batches = micro_batches(ids, tokens, texts)

    def work(todo: queue.SimpleQueue[list[TokenIds]]) -> None:
        while not todo.empty():
            try:
                backend.embed(todo.get_nowait())
            except queue.Empty:
                return

    def run() -> None:
        todo: queue.SimpleQueue[list[TokenIds]] = queue.SimpleQueue()
        for batch in batches:
            todo.put(batch)
        threads = [threading.Thread(target=work, args=(todo,)) for _ in range(backend.info.streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def naive(source: ModelSource, ids: list[TokenIds]) -> Run:
    import torch

    from embedserve.models.loading import load_encoder

    encoder = load_encoder(source, torch.float32)

    @torch.inference_mode()
    def run() -> None:
        for start in range(0, len(ids), 16):
            batch = ids[start : start + 16]
            width = max(map(len, batch))
            rows = np.zeros((len(batch), width), np.int64)
            mask = np.zeros_like(rows)
            for i, sequence in enumerate(batch):
                rows[i, : len(sequence)] = sequence
                mask[i, : len(sequence)] = 1
            encoder(torch.from_numpy(rows), torch.from_numpy(mask)).mean(1)

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--variant", action="append", metavar="BACKEND/PRECISION", help="or naive; several times")
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--limit", type=int, help="cut texts at so many tokens (default: the model's limit, at most 512)"
    )
    parser.add_argument("--tokens", type=int, help="tokens in a micro-batch (default: the backend's advice)")
    parser.add_argument("--batch", type=int, help="texts in a micro-batch")
    args = parser.parse_args()
    args.home = Path(load_settings().home)
    source = resolve(args.model, home=args.home)
    ids = client_ids(args.texts, args.limit or min(source.spec.max_tokens, 512))
    tokens, work = sum(map(len, ids)), flops(source, ids)
    shape = "jina" if source.spec.dimension == 768 else "minilm"
    runs = {
        variant: naive(source, ids) if variant == "naive" else prepared(source, variant, ids, args)
        for variant in args.variant or DEFAULT
    }
    walls: dict[str, list[float]] = {variant: [] for variant in runs}
    cpus: dict[str, list[float]] = {variant: [] for variant in runs}
    for turn in range(args.rounds + 1):  # the first warms up
        for variant, run in runs.items():
            if variant == "naive" and not turn:
                continue
            start, used = time.perf_counter(), time.process_time()
            run()
            if turn:
                walls[variant].append(time.perf_counter() - start)
                cpus[variant].append(time.process_time() - used)
    threads = cpu.usable_cores()
    print(f"{source.spec.id}, {len(ids)} texts, {tokens} tokens (mean {tokens / len(ids):.0f}), {args.rounds} rounds")
    print(f"{cpu.features().name}, {threads} threads")
    print(f"{'variant':16} {'texts/s':>8} {'tokens/s':>9} {'x naive':>8} {'% of products':>14} {'CPU s':>6}")
    slow = statistics.median(walls["naive"]) if "naive" in walls else None
    for variant in runs:
        wall = statistics.median(walls[variant])
        precision = variant.partition("/")[2] or "fp32"
        share = work / wall / 1e9 / rate(precision, shape, threads, 2.0)
        ratio = f"{slow / wall:8.2f}" if slow else " " * 8
        print(
            f"{variant:16} {len(ids) / wall:8.1f} {tokens / wall:9.0f} {ratio} {share:13.0%} "
            f"{statistics.median(cpus[variant]):7.1f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of this process, all variants loaded: {peak} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
