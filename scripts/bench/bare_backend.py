"""The backend alone: no HTTP, JSON, tokenising or queue. What is left between this and the server is their cost.

    python scripts/bench/bare_backend.py --model M --precision P [--seconds 10]

Same texts, same planner and bounds as the server: each wave of 600 texts is tokenised beforehand, sorted, cut into
micro-batches, and the batches are run by as many threads as the backend has streams. Prints texts/s and the
median milliseconds of one short text. With --serve it waits for "wave SECONDS" and "single COUNT" on stdin and
answers each with a line of JSON, so that its turns can be interleaved with a server's (cpu_table.py).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from statistics import median

from embedserve.backends.select import load_backend
from embedserve.bench.texts import short_texts, waves
from embedserve.engine.planner import Budget, plan_batches
from embedserve.models import sources
from embedserve.models.tokenizer import load_tokenizer
from embedserve.settings import load_settings

WAVE, WAVES = 600, 20


class Bare:
    def __init__(self, model: str, precision: str) -> None:
        home = load_settings().home
        source = sources.resolve(model, home=home)
        self.backend = load_backend(source, precision=precision, home=home)
        self.tokenizer = load_tokenizer(source)
        info = self.backend.info
        tokens, texts = info.best_batch_tokens, info.best_batch_texts
        budget = Budget(tokens, texts, worth=tokens // 4, packed=info.packed)
        ready = []
        for texts in waves(WAVES, WAVE):
            ids = self._ids(texts)
            ready.append([[ids[i] for i in batch] for batch in plan_batches([len(row) for row in ids], budget)])
        self.waves = itertools.cycle(ready)
        self.singles = itertools.cycle(self._ids(short_texts(100)))

    def _ids(self, texts: Sequence[str]) -> list:
        return [encoding.ids for encoding in self.tokenizer.encode(texts)]

    def wave(self, seconds: float) -> dict[str, float]:
        """Whole waves for at least so long, without a pause between them."""
        batches, lock, start = self._batches(seconds), threading.Lock(), time.perf_counter()
        cpu = time.process_time()
        done: list[int] = []

        def work() -> None:
            while True:
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return
                self.backend.embed(batch)
                done.append(len(batch))

        threads = [threading.Thread(target=work) for _ in range(self.backend.info.streams)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed, used = time.perf_counter() - start, time.process_time() - cpu
        return {"texts_per_second": sum(done) / elapsed, "texts_per_cpu_second": sum(done) / used}

    def _batches(self, seconds: float) -> Iterator[list]:
        start = time.perf_counter()
        yield from next(self.waves)
        while time.perf_counter() - start < seconds:
            yield from next(self.waves)

    def single(self, count: int) -> dict[str, float]:
        seconds = []
        for _ in range(count + 5):
            start = time.perf_counter()
            self.backend.embed([next(self.singles)])
            seconds.append(time.perf_counter() - start)
        return {"p50": median(seconds[5:])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    bare = Bare(args.model, args.precision)
    if not args.serve:
        bare.wave(0)
        rate, single = bare.wave(args.seconds)["texts_per_second"], bare.single(50)["p50"]
        print(f"{bare.backend.info.precision}: {rate:.1f} texts/s, one short text p50 {single * 1000:.2f} ms")
        return 0
    for line in iter(sys.stdin.readline, ""):
        what, _, amount = line.strip().partition(" ")
        answer = bare.wave(float(amount)) if what == "wave" else bare.single(int(amount))
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
