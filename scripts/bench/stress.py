"""Can it be overrun, and can a slow client block it?  Starts the server itself; exit 1 when a bound is broken.

    python scripts/bench/stress.py [--seconds 240] [--model all-MiniLM-L6-v2] [--precision auto]

1. 100 clients, each sending request after request of 1 to 300 different texts, for four minutes: every
   request answered with as many vectors as texts, no 429, no 5xx, peak RSS under 900 MB.
2. Eight clients that send half a body and stay, and eight that never read their answer (larger than the
   kernel's buffers), while a search of one text every half second must answer in under a second.

The server runs as a user's: disk cache on, in a fresh home.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from embedserve.bench.client import Endpoint, decode, request_body
from embedserve.bench.load import Prober
from embedserve.bench.report import percentile
from embedserve.bench.servers import Meter, StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import code_texts

Check = Callable[[str, str, str, bool], None]
CLIENTS, MOST_TEXTS, SLOW = 100, 300, 8
MB = 1024 * 1024


class Crowd:
    """Phase 1: clients in closed loops. Texts are made different by a number at their end."""

    def __init__(self, endpoint: Endpoint, model: str, seconds: float) -> None:
        self.endpoint, self.model, self.seconds = endpoint, model, seconds
        self.pool = code_texts(5_000)
        self.outcomes: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.texts = 0
        self._lock = threading.Lock()

    def run(self) -> None:
        end = time.perf_counter() + self.seconds
        threads = [threading.Thread(target=self._client, args=(n, end), daemon=True) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, number: int, end: float) -> None:
        rng, connection = random.Random(number), self.endpoint.connect()
        while time.perf_counter() < end:
            chosen = rng.sample(self.pool, rng.randint(1, MOST_TEXTS))
            texts = [f"{text}\n# {number} {rng.random()}" for text in chosen]
            reply = connection.embed(request_body(texts, self.model))
            outcome = reply.error() or "200"
            if outcome == "200":
                try:
                    decode(reply, len(texts))
                except (ValueError, KeyError) as error:
                    outcome = f"wrong answer: {error}"
            with self._lock:
                self.outcomes[outcome] += 1
                self.texts += len(texts) if outcome == "200" else 0
                self.latencies.append(reply.seconds)
        connection.close()


def half_body(endpoint: Endpoint, model: str) -> socket.socket:
    """A request whose second half never comes."""
    body = request_body(code_texts(60), model)
    client = socket.create_connection((endpoint.host, endpoint.port))
    client.sendall(_head(endpoint, len(body)) + body[: len(body) // 2])
    return client


def never_reads(endpoint: Endpoint, model: str) -> socket.socket:
    """A request whose answer (about 6 MB at 384 dimensions) is never read, with a small receive buffer."""
    body = request_body([f"x = {n}" for n in range(3_000)], model)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((endpoint.host, endpoint.port))
    client.sendall(_head(endpoint, len(body)) + body)
    return client


def _head(endpoint: Endpoint, length: int) -> bytes:
    return (
        f"POST {endpoint.base}/embeddings HTTP/1.1\r\nHost: {endpoint.host}:{endpoint.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def fate(client: socket.socket) -> str:
    """What a half-sent request got: its status line, a closed connection, or nothing."""
    client.settimeout(0.1)
    try:
        line = client.recv(64).split(b"\r\n")[0].decode("latin-1")
        return line or "closed"
    except TimeoutError:
        return "still open"
    except OSError:
        return "closed"
    finally:
        client.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=240.0, help="length of phase 1 (240)")
    parser.add_argument("--slow-seconds", type=float, default=45.0, help="length of phase 2 (45: over the deadlines)")
    parser.add_argument("--most-mb", type=float, default=900.0, help="bound of the peak RSS (900)")
    args = parser.parse_args()
    end_on_sigterm()

    table = Table("check", "bound", "reached", "", title=f"stress: {args.model}", title_justify="left")
    broken: list[str] = []

    def check(name: str, bound: str, reached: str, good: bool) -> None:
        table.add_row(name, bound, reached, "ok" if good else "BROKEN")
        broken.extend([] if good else [name])

    with tempfile.TemporaryDirectory() as home:
        command = own_command(args.model, args.precision)
        server = StartedServer("embedserve", command, {"EMBEDDING_HOME": home})
        try:
            server.wait()
            meter = Meter(server.process.pid)
            print(f"phase 1: {CLIENTS} clients for {args.seconds:.0f} s", file=sys.stderr)
            crowd = Crowd(server.endpoint, args.model, args.seconds)
            began = time.perf_counter()
            crowd.run()
            rate = crowd.texts / (time.perf_counter() - began)
            bad = {name: count for name, count in crowd.outcomes.items() if name != "200"}
            check("requests not answered right", "0", f"{bad or 0} of {sum(crowd.outcomes.values())}", not bad)
            slowest = max(crowd.latencies)
            check(
                "slowest request, s",
                "< 300",
                f"{slowest:.0f} ({rate:.0f} texts/s)",
                slowest < 300,
            )
            print(f"phase 2: {SLOW} half bodies, {SLOW} that do not read, {args.slow_seconds:.0f} s", file=sys.stderr)
            _slow_clients(server.endpoint, args, check)
            peak = meter.peak / MB
            check("peak RSS, MB", f"< {args.most_mb:.0f}", f"{peak:.0f}", peak < args.most_mb)
            table.add_row("RSS at the end, MB", "", f"{meter.rss() / MB:.0f}", "")
            meter.close()
            code = server.process.poll()
            check("server alive", "yes", "yes" if code is None else f"ended with {code}", code is None)
        finally:
            server.stop()
    Console().print(table)
    return 1 if broken else 0


def _slow_clients(endpoint: Endpoint, args: argparse.Namespace, check: Check) -> None:
    halves = [half_body(endpoint, args.model) for _ in range(SLOW)]
    silent = [never_reads(endpoint, args.model) for _ in range(SLOW)]
    queries = [request_body([f"where is request {n} parsed"], args.model) for n in range(1_000)]
    prober = Prober(endpoint, queries, pause=0.5)
    prober.run(seconds=args.slow_seconds)
    slowest, middle = max(prober.latencies, default=float("inf")), percentile(prober.latencies, 50) or 0.0
    reached = f"{slowest * 1000:.0f} (p50 {middle * 1000:.0f}, {len(prober.latencies)} searches)"
    check("slowest search meanwhile, ms", "< 1000", reached, slowest < 1 and not prober.errors)
    fates = dict(Counter(fate(client) for client in halves))
    check("half bodies got", "408 or closed", str(fates), "still open" not in fates or args.slow_seconds < 40)
    for client in silent:
        client.close()
    if prober.errors:
        check("failed searches", "0", str(dict(prober.errors)), False)


if __name__ == "__main__":
    sys.exit(main())
