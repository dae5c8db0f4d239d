"""A giant repository through the Doctown worker: 50,000 chunks, nothing lost, nothing reordered, memory bounded.

    python scripts/bench/doctown.py [--chunks 50000] [--limit 384m] [--out memory-bank]
    python scripts/bench/doctown.py --url http://127.0.0.1:8000 --limit 1g      (a worker that runs already)

MiniLM through ONNX Runtime behind POST /embed. --parallel clients send batches of --batch chunks; in the middle
--large requests carry 8,192 each. A chunk is a line of the standard library's code (every fiftieth 15 lines; 19 tokens
on average), made different by its number, so that no cache and no duplicate saves work; the cache is off.

Asked of it: every batch is a 200 with its own id and its chunks' ids in their order, every vector a unit vector, and
those of 100 probe chunks, planted all over, the ones that they have alone; RSS never over the limit; the adaptive
batch size was seen to fall and to rise again (not with --url: --limit is then what the worker was given). A line each
second from /metrics goes to doctown.csv, the picture to doctown.png. Exit 1 when a bound is broken.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import itertools
import json
import random
import re
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from embedserve.bench.client import Endpoint
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from embedserve.settings import parse_size

LARGE, PROBES, PLANTED_EVERY, ALIKE = 8192, 100, 200, 0.9999
MB = 1024 * 1024
METRICS = {
    "rss": "embedserve_rss_bytes",
    "cap": "embedserve_batch_cap_texts",
    "limit": "embedserve_memory_limit_bytes",
    "batches": "embedserve_batches_total",
    "texts": "embedserve_batch_texts_sum",
}


class Row(NamedTuple):
    """One second. cap: the most texts that a micro-batch may have; mean: texts in one during this second."""

    seconds: float
    rss_mb: float
    cap: int
    mean: float
    chunks: int


def lines_of_code() -> list[str]:
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        found += [line for line in path.read_text("utf-8", "replace").splitlines() if len(line.strip()) > 8]
    return found


def chunks(count: int) -> list[tuple[str, str]]:
    """(chunk_id, content); every PLANTED_EVERYth is one of PROBES contents."""
    lines, rng = lines_of_code(), random.Random(0)
    made = []
    for i in range(count):
        at = rng.randrange(len(lines) - 20)
        number = i // PLANTED_EVERY % PROBES if i % PLANTED_EVERY == 0 else i
        if i % PLANTED_EVERY == 0:
            at = number * 97
        size = 15 if i % 50 == 10 else 1
        made.append((f"chunk-{i}", "\n".join(lines[at : at + size]) + f"  # {number}"))
    return made


class Run:
    """`wrong`: what was not as it should be. `done`: chunks answered rightly."""

    def __init__(self, endpoint: Endpoint, made: list[tuple[str, str]]) -> None:
        self.endpoint, self.chunks = endpoint, made
        self.wrong: list[str] = []
        self.done = 0
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._alone: dict[str, np.ndarray] = {}
        for _, content in made[: PLANTED_EVERY * PROBES : PLANTED_EVERY]:
            answer = self._post({"batch_id": "alone", "chunks": [{"chunk_id": "x", "content": content}]})
            self._alone[content] = np.array(answer["vectors"][0]["vector"])

    def _post(self, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=1800)
        try:
            connection.request("POST", "/embed", json.dumps(body), {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{answer.status} {said[:200]!r}")
        return json.loads(said)

    def send(self, batch_id: str, part: list[tuple[str, str]]) -> None:
        start = time.perf_counter()
        try:
            wanted = [{"chunk_id": one, "content": content} for one, content in part]
            problem = self._judge(batch_id, part, self._post({"batch_id": batch_id, "chunks": wanted}))
        except (OSError, ValueError) as error:
            problem = f"{batch_id}: {error}"
        with self._lock:
            self.slowest = max(self.slowest, time.perf_counter() - start)
            if problem:
                self.wrong.append(problem)
            else:
                self.done += len(part)

    def _judge(self, batch_id: str, part: list[tuple[str, str]], answer: Any) -> str:
        if answer["batch_id"] != batch_id or [v["chunk_id"] for v in answer["vectors"]] != [one for one, _ in part]:
            return f"{batch_id}: ids lost or out of order"
        vectors = np.array([v["vector"] for v in answer["vectors"]])
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4):
            return f"{batch_id}: not unit vectors"
        for (_, content), vector in zip(part, vectors, strict=True):
            if content in self._alone and vector @ self._alone[content] < ALIKE:
                return f"{batch_id}: a vector is another chunk's"
        return ""

    def all(self, size: int, large: int, parallel: int) -> None:
        """Every chunk once: batches of `size`, and `large` of LARGE in the middle."""
        parts, at = [], 0
        large_from = (len(self.chunks) - large * LARGE) // 2 // size * size
        while at < len(self.chunks):
            length = LARGE if large_from <= at < large_from + large * LARGE else size
            parts.append((f"batch-{at}", self.chunks[at : at + length]))
            at += length
        todo = iter(parts)
        lock = threading.Lock()

        def client() -> None:
            while True:
                with lock:
                    part = next(todo, None)
                if part is None:
                    return
                self.send(*part)

        threads = [threading.Thread(target=client) for _ in range(parallel)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def look(endpoint: Endpoint) -> dict[str, float]:
    connection = endpoint.connect()
    text = connection.send("GET", endpoint.root + "/metrics").body.decode()
    connection.close()
    found = {name: re.search(rf"^{metric} (\S+)", text, re.MULTILINE) for name, metric in METRICS.items()}
    return {name: float(match[1]) if match else 0.0 for name, match in found.items()}


def watch(run: Run, stop: threading.Event, rows: list[Row]) -> None:
    start, before = time.perf_counter(), look(run.endpoint)
    while not stop.wait(1.0):
        now = look(run.endpoint)
        batches, texts = now["batches"] - before["batches"], now["texts"] - before["texts"]
        seconds = round(time.perf_counter() - start, 1)
        rows.append(
            Row(seconds, round(now["rss"] / MB, 1), int(now["cap"]), round(texts / max(batches, 1), 1), run.done)
        )
        before = now
        print(f"\r{rows[-1]}  ", end="", file=sys.stderr)


def picture(rows: list[Row], limit: float, percent: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (memory, batch) = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True)
    seconds = [row.seconds for row in rows]
    memory.plot(seconds, [row.rss_mb for row in rows], linewidth=1, label="RSS")
    memory.axhline(limit / MB, color="red", linewidth=1, label="memory limit")
    memory.axhline(limit / MB * percent / 100, linestyle=":", linewidth=1, label=f"{percent:.0f} % of it")
    memory.set(ylabel="MB", ylim=(0, None))
    memory.legend(loc="lower right")
    batch.step(seconds, [row.cap for row in rows], linewidth=1, label="adaptive batch size (most texts)")
    batch.plot(seconds, [row.mean for row in rows], linewidth=1, label="texts in a micro-batch, mean")
    batch.set(xlabel="seconds", ylabel="texts", ylim=(0, None))
    batch.legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=110)


def moves(rows: list[Row]) -> tuple[int, int]:
    """How often the cap fell and rose from one second to the next."""
    caps = [row.cap for row in rows]
    return sum(a > b for a, b in itertools.pairwise(caps)), sum(a < b for a, b in itertools.pairwise(caps))


def report(run: Run, rows: list[Row], args: argparse.Namespace, limit: float) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / f"{args.name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Row._fields, *rows])
    picture(rows, limit, args.percent, args.out / f"{args.name}.png")
    peak, (fell, rose) = max(row.rss_mb for row in rows), moves(rows)
    took = rows[-1].seconds
    found = [
        ("chunks answered rightly, in order", f"{args.chunks}", f"{run.done}", run.done == args.chunks),
        ("wrong", "0", f"{len(run.wrong)} {run.wrong[:2]}", not run.wrong),
        ("peak RSS, MB", f"<= {limit / MB:.0f}", f"{peak:.0f}", peak * MB <= limit),
        ("batch size fell, rose", "" if args.url else "both", f"{fell}, {rose}", bool((fell and rose) or args.url)),
        ("batch size: least, most", "", f"{min(r.cap for r in rows)}, {max(r.cap for r in rows)}", None),
        ("seconds; chunks/s; slowest request", "", f"{took:.0f}; {run.done / took:.0f}; {run.slowest:.0f} s", None),
    ]  # fmt: skip
    table = Table("check", "bound", "reached", "", title_justify="left", title="Doctown worker, MiniLM, ONNX Runtime")
    for what, bound, reached, kept in found:
        table.add_row(what, bound, reached, "" if kept is None else "yes" if kept else "NO")
    Console().print(table)
    return 0 if all(kept is not False for *_, kept in found) else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="", help="a worker that runs already; otherwise one is started")
    parser.add_argument("--chunks", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=1_000, help="chunks a request (1000)")
    parser.add_argument("--large", type=int, default=3, help=f"requests of {LARGE} chunks (3)")
    parser.add_argument("--parallel", type=int, default=3, help="requests at once (3)")
    parser.add_argument("--limit", default="384m", help="EMBEDDING_MEMORY_LIMIT (384m)")
    parser.add_argument("--percent", type=float, default=70.0, help="EMBEDDING_MAX_MEMORY_PERCENT (70)")
    parser.add_argument("--threads", default="8", help="EMBEDDING_ONNX_THREADS (8)")
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--backend", default="onnx")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "memory-bank")
    parser.add_argument("--name", default="doctown", help="of the csv and the png")
    args = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        server = None
        if args.url:
            endpoint = Endpoint(f"{args.url}/v1")
        else:
            env = {
                "EMBEDDING_HOME": home,
                "EMBEDDING_CACHE": "off",
                "EMBEDDING_MEMORY_LIMIT": args.limit,
                "EMBEDDING_MAX_MEMORY_PERCENT": str(args.percent),
                "EMBEDDING_ONNX_THREADS": args.threads,
                "EMBEDDING_MAX_BATCH_SIZE": "64",  # the worker's own value; unset it is the backend's advice, 16
            }
            server = StartedServer("embedserve", [*own_command(args.model), "--backend", args.backend], env)
            endpoint = server.endpoint
        try:
            if server:
                server.wait()
            run, rows, stop = Run(endpoint, chunks(args.chunks)), list[Row](), threading.Event()
            watcher = threading.Thread(target=watch, args=(run, stop, rows))
            watcher.start()
            run.all(args.batch, args.large, args.parallel)
            time.sleep(5)
            stop.set()
            watcher.join()
        finally:
            if server:
                server.stop()
    return report(run, rows, args, parse_size(args.limit))


if __name__ == "__main__":
    sys.exit(main())
