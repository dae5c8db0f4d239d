"""What one request costs the server beside its inference: CPU milliseconds and context switches on the fake backend.

    python scripts/bench/request_cost.py [--requests 2000] [--rounds 3]
    python scripts/bench/request_cost.py --cached [--model M]

One client, one connection, one short text a request that the cache does not have; Linux. CPU time is user and system
of the whole process, switches are those of all its threads. What the housekeeping does meanwhile is in the figure.
Prints each round and the median. --cached: requests of 60 texts as the clients', base64, all of them in the cache's
memory, from 4 connections that share the machine's cores with the server; texts/s by the clock and by its CPU time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

from embedserve.bench.client import request_body
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import waves


def spent(pid: int) -> tuple[float, int, int]:
    """(CPU seconds, voluntary, involuntary switches) of a process's threads since its start."""
    seconds, voluntary, involuntary = 0.0, 0, 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        seconds += int((task / "schedstat").read_text().split()[0]) / 1e9
        fields = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines() if ":" in line)
        voluntary += int(fields["voluntary_ctxt_switches"])
        involuntary += int(fields["nonvoluntary_ctxt_switches"])
    return seconds, voluntary, involuntary


def measure(server: StartedServer, requests: int, salt: int) -> tuple[float, float, float]:
    """(CPU ms, voluntary, involuntary switches) a request."""
    connection = server.endpoint.connect()
    bodies = [request_body([f"def number_{salt}_{i}(): return {i}"], None) for i in range(requests)]
    before = spent(server.process.pid)
    for body in bodies:
        reply = connection.embed(body)
        if reply.status != 200:
            raise SystemExit(f"status {reply.status}: {reply.error()}")
    after = spent(server.process.pid)
    cpu, voluntary, involuntary = ((b - a) / requests for a, b in zip(before, after, strict=True))
    return cpu * 1000, voluntary, involuntary


def cached(server: StartedServer, seconds: float) -> tuple[float, float]:
    """(texts/s, texts a second of the server's CPU time) of texts that are all in the cache."""
    (texts,) = waves(1, 600)
    bodies = [request_body(texts[at : at + 60], None) for at in range(0, 600, 60)]
    for body in bodies:
        server.endpoint.connect().embed(body)
    counts, until = [0] * 4, time.monotonic() + seconds

    def drive(which: int) -> None:
        connection = server.endpoint.connect()
        while time.monotonic() < until:
            if connection.embed(bodies[counts[which] % 10]).status != 200:
                raise SystemExit("a request failed")
            counts[which] += 1

    threads = [threading.Thread(target=drive, args=(i,)) for i in range(4)]
    start, before = time.monotonic(), spent(server.process.pid)[0]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = 60 * sum(counts)
    return done / (time.monotonic() - start), done / (spent(server.process.pid)[0] - before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cached", action="store_true")
    parser.add_argument("--model", help="with --cached: a real model instead of the fake one")
    args = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        env = {"EMBEDDING_HOME": home} | ({} if args.model else {"EMBEDDING_BACKEND": "fake"})
        server = StartedServer("embedserve", own_command(args.model or "fake", "auto"), env)
        try:
            server.wait()
            if args.cached:
                for _ in range(args.rounds):
                    by_clock, by_cpu = cached(server, 5)
                    print(f"{by_clock:,.0f} cached texts/s, {by_cpu:,.0f} a second of CPU time")
                return 0
            measure(server, 200, salt=0)  # warms the interpreter's caches
            rounds = [measure(server, args.requests, salt) for salt in range(1, args.rounds + 1)]
        finally:
            server.stop()
    for cpu, voluntary, involuntary in rounds:
        print(f"{cpu:.2f} ms of CPU, {voluntary:.1f} voluntary and {involuntary:.1f} other switches a request")
    print(f"median: {median(r[0] for r in rounds):.2f} ms, {median(r[1] + r[2] for r in rounds):.1f} switches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
