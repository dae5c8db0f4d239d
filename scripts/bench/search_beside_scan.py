"""How long a search waits while a repository is indexed: 10 connections of 60 texts, beside them 0, 1 and 16 searchers.

    python scripts/bench/search_beside_scan.py [--model M] [--precision P] [--seconds 10]

A searcher sends one short text, waits for its answer, pauses 20 ms. Texts are the clients' mix, the cache is off.
Prints p50 and p95 of the searches and the scan's texts/s. On a machine with other work, `chrt -r 5 python ...` (root)
keeps it out.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time

from embedserve.bench.client import request_body
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import short_texts, waves


class Load:
    """One round: `searchers` beside ten scanning connections, for `seconds`."""

    def __init__(self, server: StartedServer, texts: list[str], searches: list[str]) -> None:
        self.server, self.texts, self.searches = server, texts, searches
        self.over = threading.Event()
        self.scanned = 0
        self.waits: list[float] = []

    def run(self, searchers: int, seconds: float) -> str:
        threads = [threading.Thread(target=self._scan, args=(i,)) for i in range(10)]
        threads += [threading.Thread(target=self._search, args=(i,)) for i in range(searchers)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        rate = self.scanned / (time.monotonic() - start)
        waits = sorted(self.waits)
        said = f"p50 {waits[len(waits) // 2]:.0f} ms, p95 {waits[int(len(waits) * 0.95)]:.0f} ms; " if waits else ""
        return f"{searchers} searchers, {len(waits)} searches: {said}scan {rate:.0f} texts/s"

    def _scan(self, which: int) -> None:
        connection = self.server.endpoint.connect()
        for at in itertools.count(which * 60, 600):
            if self.over.is_set():
                return
            at %= len(self.texts)
            self._sent(connection.embed(request_body(self.texts[at : at + 60], None)).status)
            self.scanned += 60

    def _search(self, which: int) -> None:
        connection = self.server.endpoint.connect()
        for at in itertools.count(which * 10):
            if self.over.wait(0.02):
                return
            reply = connection.embed(request_body([self.searches[at % len(self.searches)]], None))
            self._sent(reply.status)
            self.waits.append(reply.seconds * 1000)

    def _sent(self, status: int) -> None:
        if status != 200:
            self.over.set()
            raise SystemExit(f"status {status}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    end_on_sigterm()
    (texts,) = waves(1, 1200)
    server = StartedServer("embedserve", own_command(args.model, args.precision), {"EMBEDDING_CACHE": "off"})
    try:
        server.wait()
        for searchers in (0, 1, 16):
            print(Load(server, texts, short_texts(200)).run(searchers, args.seconds), flush=True)
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
