"""Does it leak?  Twelve minutes of mixed load; the RSS at the end against the RSS after the first minute.

    python scripts/bench/soak.py [--seconds 720] [--model all-MiniLM-L6-v2] [--out memory-bank]

Twelve clients, each drawing its next act: 1 to 600 texts, short and long ones; requests aborted after a random
time; half-sent bodies; bad JSON, empty input, wrong model, wrong type, token ids, unknown routes. Each answer must
have the status its request deserves. The server runs as a user's, but with a memory cache of 8 MB: full
within the first minute, so that what grows afterwards is a leak and not the cache filling up.

Writes soak.csv (a line each second) and soak.png to --out. Exit 1 when RSS grew by over 5 % or an answer was wrong.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from embedserve.bench.client import Connection, Endpoint, request_body
from embedserve.bench.servers import Meter, StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import code_texts

CLIENTS = 12
GROWTH = 0.05
MB = 1024 * 1024


class Client(threading.Thread):
    """One client: acts until `stop`. `wrong` counts the answers that were not the deserved ones."""

    def __init__(self, number: int, endpoint: Endpoint, model: str, pool: list[str], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.rng, self.endpoint, self.model, self.pool, self.stop_event = (
            random.Random(number),
            endpoint,
            model,
            pool,
            stop,
        )
        self.acts: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.texts = 0

    def run(self) -> None:
        connection = self.endpoint.connect()
        while not self.stop_event.is_set():
            drawn = self.rng.random()
            if drawn < 0.80:
                self._good(connection)
            elif drawn < 0.88:
                self._abort()
            else:
                self._bad(connection)
        connection.close()

    def _texts(self) -> list[str]:
        most = self.rng.choices([1, 60, 300, 600], [40, 45, 10, 5])[0]
        texts = [f"{text}\n# {self.rng.random()}" for text in self.rng.sample(self.pool, self.rng.randint(1, most))]
        if self.rng.random() < 0.1:
            texts[0] = texts[0] * self.rng.randint(2, 60)  # far over the model's limit: cut
        return texts

    def _good(self, connection: Connection) -> None:
        texts = self._texts()
        self._expect("embed", connection.embed(request_body(texts, self.model)).status, 200)
        self.texts += len(texts)

    def _bad(self, connection: Connection) -> None:
        path = f"{self.endpoint.base}/embeddings"
        name, status, method, where, body = self.rng.choice(
            [
                ("bad JSON", 400, "POST", path, b'{"input": ['),
                ("empty input", 400, "POST", path, b'{"input": []}'),
                ("empty text", 400, "POST", path, b'{"input": ["a", ""]}'),
                ("wrong type", 400, "POST", path, b'{"input": {"a": 1}}'),
                ("wrong model", 404, "POST", path, b'{"input": "a", "model": "no-such-model"}'),
                ("id out of vocabulary", 400, "POST", path, b'{"input": [[1, 99999999]]}'),
                ("unknown route", 404, "GET", "/v1/nothing", None),
                ("wrong method", 405, "DELETE", path, None),
                (
                    "token ids",
                    200,
                    "POST",
                    path,
                    json.dumps({"input": [101, 2000 + self.rng.randrange(9000), 102]}).encode(),
                ),
                ("white space", 200, "POST", path, b'{"input": ["  \\n "]}'),
            ]
        )
        self._expect(name, connection.send(method, where, body).status, status)

    def _abort(self) -> None:
        """Send a request, whole or half, wait a moment, go away."""
        body = request_body(self._texts(), self.model)
        head = (
            f"POST {self.endpoint.base}/embeddings HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        half = self.rng.random() < 0.3
        with socket.create_connection((self.endpoint.host, self.endpoint.port)) as client:
            try:
                client.sendall(head + body[: len(body) // 2 if half else None])
            except OSError:
                self.wrong["abort: the server closed the connection"] += 1
            time.sleep(self.rng.random())
        self.acts["half a body" if half else "aborted"] += 1

    def _expect(self, name: str, status: int, deserved: int) -> None:
        self.acts[name] += 1
        if status != deserved:
            self.wrong[f"{name}: {status} instead of {deserved}"] += 1


def sample(
    server: StartedServer, meter: Meter, clients: list[Client], seconds: float
) -> list[tuple[float, float, int, int]]:
    """A row each second: seconds, RSS in MB, threads, texts answered so far."""
    rows, start = [], time.perf_counter()
    while (now := time.perf_counter() - start) < seconds and server.process.poll() is None:
        rows.append((round(now, 1), round(meter.rss() / MB, 1), meter.threads(), sum(c.texts for c in clients)))
        if sys.stderr.isatty():
            print(f"\r{now:5.0f} s  RSS {rows[-1][1]:.0f} MB  {rows[-1][3]} texts ", end="", file=sys.stderr)
        time.sleep(1.0)
    return rows


def growth(rows: list[tuple[float, float, int, int]], after: float) -> tuple[float, float]:
    """Median RSS around `after` seconds, and over the last ten seconds."""
    early = [rss for at, rss, *_ in rows if abs(at - after) <= 5]
    late = [rss for at, rss, *_ in rows if at >= rows[-1][0] - 10]
    return median(early), median(late)


def picture(rows: list[tuple[float, float, int, int]], after: float, start: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 3.5))
    axis.plot([row[0] / 60 for row in rows], [row[1] for row in rows], linewidth=1)
    axis.axhspan(start * (1 - GROWTH), start * (1 + GROWTH), alpha=0.15, label="± 5 % of the value after one minute")
    axis.axvline(after / 60, linestyle=":", linewidth=1)
    axis.set(xlabel="minutes of mixed load", ylabel="RSS, MB", ylim=(0, None))
    axis.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=720.0)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "memory-bank")
    args = parser.parse_args()
    end_on_sigterm()
    after = min(60.0, args.seconds / 3)
    with tempfile.TemporaryDirectory() as home:
        env = {"EMBEDDING_HOME": home, "EMBEDDING_CACHE_MEMORY": "8m"}
        server = StartedServer("embedserve", own_command(args.model, args.precision), env)
        try:
            server.wait()
            meter, stop, pool = Meter(server.process.pid), threading.Event(), code_texts(5_000)
            clients = [Client(n, server.endpoint, args.model, pool, stop) for n in range(CLIENTS)]
            for client in clients:
                client.start()
            rows = sample(server, meter, clients, args.seconds)
            stop.set()
            for client in clients:
                client.join()
            meter.close()
            alive = server.process.poll() is None
        finally:
            server.stop()
    start, end = growth(rows, after)
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("seconds", "rss_mb", "threads", "texts"), *rows])
    picture(rows, after, start, args.out / "soak.png")
    acts, wrong = sum((c.acts for c in clients), Counter()), sum((c.wrong for c in clients), Counter())
    change = end / start - 1
    table = Table(
        "check", "bound", "reached", "", title=f"soak: {args.model}, {args.seconds:.0f} s", title_justify="left"
    )
    table.add_row(f"RSS after {after:.0f} s, at the end, MB", "", f"{start:.0f}, {end:.0f}", "")
    table.add_row("growth", f"<= {GROWTH:.0%}", f"{change:+.1%}", "ok" if change <= GROWTH else "BROKEN")
    table.add_row("wrong answers", "0", str(dict(wrong) or 0), "BROKEN" if wrong else "ok")
    table.add_row("server alive", "yes", "yes" if alive else "no", "ok" if alive else "BROKEN")
    table.add_row("acts", "", ", ".join(f"{count} {name}" for name, count in acts.most_common()), "")
    table.add_row("texts, texts/s", "", f"{rows[-1][3]}, {rows[-1][3] / rows[-1][0]:.0f}", "")
    Console().print(table)
    return 1 if wrong or not alive or change > GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
