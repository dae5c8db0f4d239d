"""Measure what memory-bank/decisions/jina-native.md claims: tokenising, ways of attention, 8,192 tokens.

    python scripts/bench/models_speed.py [--folder DIR] [tokens] [attention] [long]

tokens: texts/s for 60 chunks of 1,500 characters, for all-MiniLM-L6-v2 and for the jina folder.
attention: CPU milliseconds of one thread for one layer's attention over 8 texts of 330 to 512 tokens.
long: one text of 8,192 tokens through the whole model, with the process's memory.
The folder: scripts/bench/random_jina.py writes one.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))

from support.memory import peak_mib


def tokens(folder: Path) -> None:
    from embedserve.models.sources import resolve
    from embedserve.models.tokenizer import load_tokenizer

    files = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-m]*.py"))
    code = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    chunks = [code[i * 1500 : i * 1500 + 1500] for i in range(60)]
    for name in ("all-MiniLM-L6-v2", str(folder)):
        tokenizer = load_tokenizer(resolve(name, home=folder / "home"))
        tokenizer.encode(chunks)
        best = min(timed(lambda t=tokenizer: t.encode(chunks), time.perf_counter) for _ in range(10))
        print(f"tokens {name}: 60 chunks of 1,500 characters in {best:.1f} ms, {60_000 / best:.0f} texts/s")


def attention(_folder: Path) -> None:
    import jina_torch as jina
    import torch

    torch.set_num_threads(1)
    slopes = torch.tensor(jina.alibi_slopes(12))
    q, k, v = (torch.randn(8, 512, 768).unflatten(-1, (12, 64)).transpose(1, 2) for _ in range(3))
    mask = torch.ones(8, 512, dtype=torch.int64)
    for i in range(8):
        mask[i, 512 - 26 * i :] = 0
    ways = {
        "text by text": jina.attend_each(mask, slopes),
        "padded mask": jina.attend_at_once(jina.attention_bias(mask, slopes)),
        "padded mask in blocks": jina.attend_in_blocks(mask, slopes, 128),
    }
    with torch.inference_mode():
        for name, attend in ways.items():
            attend(q, k, v)
            best = min(timed(lambda a=attend: a(q, k, v), time.process_time) for _ in range(5))
            print(f"attention {name}: {best:.0f} ms of CPU time a layer")


def long(folder: Path) -> None:
    import numpy as np

    from embedserve.backends.select import load_backend
    from embedserve.models.sources import resolve

    home = folder / "home"
    backend = load_backend(resolve(str(folder), home=home), backend="torch", precision="fp32", home=home)
    loaded = peak_mib()
    ids = np.random.default_rng(0).integers(5, 60000, 8192).astype(np.int32)
    took = timed(lambda: backend.embed([ids]), time.process_time)
    print(f"long: 8,192 tokens in {took / 1000:.0f} s of CPU time; peak {loaded} MiB while loading, {peak_mib()} after")


def timed(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Milliseconds."""
    start = clock()
    work()
    return (clock() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="tokens, attention, long; all when left out")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/jina-random"))
    args = parser.parse_args()
    for name, measure in (("tokens", tokens), ("attention", attention), ("long", long)):
        if not args.what or name in args.what:
            measure(args.folder)


if __name__ == "__main__":
    main()
