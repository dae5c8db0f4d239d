"""Texts of the model's full length, several at once: the peak of memory against a limit, and a search beside them.

    python scripts/bench/long_texts.py --model M [--precision P] [--limit 1200m] [--texts 4] [--no-search]

Starts a server without a cache. All texts are posted at the same moment, one a request, each far over the model's
limit, so each is cut to it. A search is one short text a second beside them. The limit is told to the server
(EMBEDDING_MEMORY_LIMIT) and enforced by nobody: the peak says whether a container of that size would have been killed.
Linux only: the peak is the kernel's VmHWM, set back once the model is loaded. Exit 1 when a text was not answered.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from embedserve.bench.client import Endpoint, request_body
from embedserve.bench.report import percentile
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import code_texts
from embedserve.settings import load_settings

CHARACTERS = 60_000
SEARCH_EVERY = 1.0  # seconds


def memory(pid: int, field: str) -> int:
    """A figure of /proc/PID/status in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) // 1024


def post(endpoint: Endpoint, text: str, model: str) -> tuple[int, float]:
    """The answer's status and seconds."""
    connection, start = endpoint.connect(), time.perf_counter()
    try:
        return connection.embed(request_body([text], model)).status, time.perf_counter() - start
    finally:
        connection.close()


def searches(endpoint: Endpoint, texts: list[str], model: str, stop: threading.Event) -> list[float]:
    """Seconds of each, one after the other."""
    found: list[float] = []
    while not stop.wait(SEARCH_EVERY):
        found.append(post(endpoint, f"{len(found)} {texts[len(found) % len(texts)]}", model)[1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--limit", default="", help="EMBEDDING_MEMORY_LIMIT, like 1200m (none)")
    parser.add_argument("--texts", type=int, default=4)
    parser.add_argument("--search", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    end_on_sigterm()
    texts = code_texts(200)
    long = [f"{i} {text} " * (CHARACTERS // len(text)) for i, text in enumerate(texts[: args.texts])]
    with tempfile.TemporaryDirectory() as log:
        env = {"EMBEDDING_HOME": str(load_settings().home), "EMBEDDING_CACHE": "off", "EMBEDDING_LOG_DIR": log}
        env |= {"EMBEDDING_MEMORY_LIMIT": args.limit} if args.limit else {}
        server = StartedServer("embedserve", own_command(args.model, args.precision), env)
        try:
            server.wait()
            pid, name = server.process.pid, Path(args.model).name
            loaded = memory(pid, "VmRSS")
            Path(f"/proc/{pid}/clear_refs").write_text("5")
            stop, start = threading.Event(), time.perf_counter()
            with ThreadPoolExecutor(args.texts + 1) as pool:
                beside = pool.submit(searches, server.endpoint, texts[100:], name, stop) if args.search else None
                answers = list(pool.map(lambda text: post(server.endpoint, text, name), long))
                stop.set()
            seconds = time.perf_counter() - start
            print(f"{name} {args.precision}, limit {args.limit or 'none'}: {args.texts} long texts in {seconds:.0f} s")
            print(f"RSS {loaded} MB loaded, {memory(pid, 'VmRSS')} MB at the end, {memory(pid, 'VmHWM')} MB at most")
            if beside is not None and (waited := beside.result()):
                print(f"{len(waited)} searches: p50 {percentile(waited, 50):.2f} s, longest {max(waited):.2f} s")
        finally:
            server.stop()
    return 1 if any(status != 200 for status, _ in answers) else 0


if __name__ == "__main__":
    sys.exit(main())
