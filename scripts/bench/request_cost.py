"""What one request costs the server beside its inference: CPU milliseconds and context switches on the fake backend.

    python scripts/bench/request_cost.py [--requests 2000] [--rounds 3]

One client, one connection, one short text a request that the cache does not have; Linux. CPU time is user and system
of the whole process, switches are those of all its threads. What the housekeeping does meanwhile is in the figure.
Prints each round and the median.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from embedserve.bench.client import request_body
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        env = {"EMBEDDING_BACKEND": "fake", "EMBEDDING_HOME": home}
        server = StartedServer("embedserve", own_command("fake", "auto"), env)
        try:
            server.wait()
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
