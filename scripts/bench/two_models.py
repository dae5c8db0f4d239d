"""Do two models in one process hurt each other?  Searches on one while the other loads, both under load; judged.

    python scripts/bench/two_models.py [--rounds 10] [--seconds 20] [--model all-MiniLM-L6-v2] [--second MODEL]

The second model is a random one of jina-embeddings-v2-base-code's size, written for the run, unless --second names
another. The server unloads a model after 2 s without a request; the searches keep the first one in memory.

1. --rounds times: the second model is asked for (it loads), answers, and leaves memory. A search on the first model
   every 50 ms all the while.
2. --seconds of load on both: two clients with 60 texts a request on each, and the searches.

Asked of it: every answer is a 200 and right (cosine to the vector that the model gave alone: > 0.999, since bf16
batches differ in the last bits); a search while the other model loads takes at most a micro-batch's 0.6 s; RSS with
the second model gone again is within 5 % of its value after the first round; RSS never over the limit.
No cache, so that every text is computed. Exit 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from embedserve.bench.client import Connection, Endpoint, decode, request_body
from embedserve.bench.report import percentile
from embedserve.bench.servers import Meter, StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import code_texts
from embedserve.machine import cpu

KEEP_ALIVE, EVERY, SEARCH_BOUND, GROWTH, ALIKE = 2, 0.05, 0.6, 0.05, 0.999
MB = 1024 * 1024


class Judge:
    """Compares answers with what the models gave alone. `wrong`: what was not as it should be."""

    def __init__(self, endpoint: Endpoint, texts: list[str], models: list[str]) -> None:
        self.endpoint, self.texts = endpoint, texts
        self.wrong: list[str] = []
        self.answered = 0
        self._lock = threading.Lock()
        self.alone = {model: self._vectors(model, texts) for model in models}

    def _vectors(self, model: str, texts: list[str]) -> np.ndarray:
        connection = self.endpoint.connect()
        for _ in range(10):
            reply = connection.embed(request_body(texts, model))
            if reply.status == 200:
                connection.close()
                return decode(reply, len(texts))[0]
            time.sleep(5)
        raise SystemExit(f"{model}: {reply.error()}")

    def ask(self, connection: Connection, model: str, places: list[int]) -> float:
        """Ask for these texts; returns the seconds."""
        reply = connection.embed(request_body([self.texts[i] for i in places], model))
        with self._lock:
            self.answered += len(places)
            if reply.status != 200:
                self.wrong.append(f"{model}: {reply.error()}")
            elif (decode(reply, len(places))[0] * self.alone[model][places]).sum(1).min() < ALIKE:
                self.wrong.append(f"{model}: a wrong vector")
        return reply.seconds


class Searcher(threading.Thread):
    """One text every EVERY seconds on the first model. `seconds`: (when it was sent, how long it took)."""

    def __init__(self, judge: Judge, model: str) -> None:
        super().__init__(daemon=True)
        self.judge, self.model = judge, model
        self.stop = threading.Event()
        self.seconds: list[tuple[float, float]] = []

    def run(self) -> None:
        connection, turn = self.judge.endpoint.connect(), 0
        while not self.stop.wait(EVERY):
            turn += 1
            sent = time.perf_counter()
            self.seconds.append((sent, self.judge.ask(connection, self.model, [turn % len(self.judge.texts)])))

    def between(self, start: float, end: float) -> list[float]:
        """Of the searches that ran at some time from `start` to `end`."""
        return [took for sent, took in self.seconds if sent + took >= start and sent <= end]


def state_of(endpoint: Endpoint, model: str) -> str:
    connection = endpoint.connect()
    listed = json.loads(connection.send("GET", f"{endpoint.base}/models").body)["data"]
    connection.close()
    return str(next(one["state"] for one in listed if one["id"] == model))


def settled(endpoint: Endpoint, model: str, process: psutil.Process) -> float:
    """Wait until the model has left memory; RSS then, in MB."""
    deadline = time.perf_counter() + 60
    while state_of(endpoint, model) != "on disk":
        if time.perf_counter() > deadline:
            raise SystemExit(f"{model} does not leave memory")
        time.sleep(0.2)
    time.sleep(0.5)
    return float(process.memory_info().rss / MB)


def crowd(judge: Judge, models: list[str], seconds: float) -> None:
    """Two clients a model, 60 texts a request, in closed loops."""
    end = time.perf_counter() + seconds

    def client(model: str, seed: int) -> None:
        connection, rng = judge.endpoint.connect(), np.random.default_rng(seed)
        while time.perf_counter() < end:
            judge.ask(connection, model, rng.integers(0, len(judge.texts), 60).tolist())

    threads = [
        threading.Thread(target=client, args=(model, 2 * m + n)) for m, model in enumerate(models) for n in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(server: StartedServer, args: argparse.Namespace) -> list[tuple[str, str, str, bool | None]]:
    endpoint, process = server.endpoint, psutil.Process(server.process.pid)
    connection = endpoint.connect()
    while connection.send("GET", endpoint.root + "/ready").status != 200:  # the second model's files are looked at
        time.sleep(0.1)
    models = json.loads(connection.send("GET", f"{endpoint.base}/models").body)["data"]
    first, second = (one["id"] for one in models)
    judge = Judge(endpoint, code_texts(300), [first, second])
    meter = Meter(server.process.pid)
    searcher = Searcher(judge, first)
    searcher.start()
    settled(endpoint, second, process)
    quiet = time.perf_counter()
    time.sleep(5)
    idle = searcher.between(quiet, time.perf_counter())
    during, loads, after = [], [], []
    for _ in range(args.rounds):
        start = time.perf_counter()
        loads.append(judge.ask(connection, second, [0]))
        during += searcher.between(start, time.perf_counter())
        after.append(settled(endpoint, second, process))
        print(f"load {loads[-1]:.2f} s, RSS afterwards {after[-1]:.0f} MB", file=sys.stderr)
    start = time.perf_counter()
    crowd(judge, [first, second], args.seconds)
    loaded = searcher.between(start, time.perf_counter())
    searcher.stop.set()
    searcher.join()
    health = json.loads(connection.send("GET", endpoint.root + "/health").body)
    limit = health["memory_limit_bytes"] / MB
    change = after[-1] / after[0] - 1

    def shown(seconds: list[float]) -> str:
        return (
            f"{percentile(seconds, 50) * 1000:.0f}, {percentile(seconds, 95) * 1000:.0f}, {max(seconds) * 1000:.0f} ms"
        )

    return [
        ("texts answered", "", str(judge.answered), None),
        ("wrong or refused", "0", f"{len(judge.wrong)} {judge.wrong[:2]}", not judge.wrong),
        (f"{len(loads)} loads of the second: median, longest", "",
         f"{percentile(loads, 50):.2f}, {max(loads):.2f} s", None),
        (f"{len(idle)} searches, one model idle: p50, p95, max", "", shown(idle), None),
        (f"{len(during)} searches while the other loads", f"max {SEARCH_BOUND * 1000:.0f} ms", shown(during),
         max(during) <= SEARCH_BOUND),
        (f"{len(loaded)} searches with both under load", "", shown(loaded), None),
        ("RSS, second model gone, first and last round, MB", f"<= +{GROWTH:.0%}",
         f"{after[0]:.0f}, {after[-1]:.0f} ({change:+.1%})", change <= GROWTH),
        ("peak RSS, MB", f"<= {limit:.0f}", f"{meter.peak / MB:.0f}", meter.peak / MB <= limit),
    ]  # fmt: skip


def second_model(named: str, folder: Path) -> str:
    """The second model's name; by default a random one of jina's size, written into `folder`."""
    if named:
        return named
    from random_jina import write_checkpoint

    made = folder / "random-jina"
    made.mkdir()
    return str(write_checkpoint(made))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--second", default="", metavar="MODEL", help="the second model (a random one of jina's size)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--limit", default="3g", help="EMBEDDING_MEMORY_LIMIT (3g)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        names = f"{args.model},{second_model(args.second, Path(home))}"
        env = {
            "EMBEDDING_HOME": home,
            "EMBEDDING_CACHE": "off",
            "EMBEDDING_KEEP_ALIVE": str(KEEP_ALIVE),
            "EMBEDDING_MEMORY_LIMIT": args.limit,
        }
        server = StartedServer("embedserve", own_command(names, args.precision), env)
        try:
            server.wait()
            found = run(server, args)
        finally:
            server.stop()
    table = Table("check", "bound", "reached", "", title_justify="left", title=f"two models: {cpu.features().name}")
    for what, bound, reached, kept in found:
        table.add_row(what, bound, reached, "" if kept is None else "yes" if kept else "NO")
    Console().print(table)
    return 0 if all(kept is not False for *_, kept in found) else 1


if __name__ == "__main__":
    sys.exit(main())
