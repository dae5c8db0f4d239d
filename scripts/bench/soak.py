"""Does it leak, lose, mix up or refuse anything?  A hundred clients, two models, searches; every answer is judged.

    python scripts/bench/soak.py [--seconds 720] [--texts 30000] [--model all-MiniLM-L6-v2] [--out memory-bank]

The load (soak_crowd.py): 100 clients; 5 % of their acts are aborted, 5 % malformed, some write or read slowly; one
sends files of 2,600 texts; ten searches a second beside them. It goes on until --seconds have passed and --texts were
answered. The server serves two models (the second: a random one of jina's architecture, written for the run, unless
--second names another) with a memory cache of 1 MB and no disk cache: full within the first minute, so that what
grows afterwards is a leak and not the cache filling up, and most texts are computed, not remembered.

Asked of it: every vector is its text's; no 5xx, no 429, every malformed request gets its own status; RSS at the end
at most 5 % over its value after the first minute, and its slope flat; descriptors and threads back when the clients
are gone; where the server exports it, its loop never blocked for longer than --blocked. Stated: searches' p95.

Writes soak.csv (a line each second), soak.png and soak.json to --out. Exit 1 when anything was broken.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table
from soak_crowd import Client, Crowd, Pool, Searches

from embedserve.bench.client import Endpoint
from embedserve.bench.report import percentile
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from embedserve.bench.texts import code_texts

CLIENTS, GROWTH = 100, 0.05
LONG = 50_000  # characters
LOOP_BLOCKED = re.compile(r"^embedserve_event_loop_blocked_max_seconds(?:\{.*\})? (\S+)", re.MULTILINE)
MB = 1024 * 1024


class Sample(NamedTuple):
    """One second of the server. `texts`: answered rightly so far."""

    seconds: float
    rss_mb: float
    threads: int
    descriptors: int
    texts: int


def look(process: psutil.Process, seconds: float, texts: int) -> Sample:
    with process.oneshot():
        rss, threads, descriptors = process.memory_info().rss, process.num_threads(), process.num_fds()
    return Sample(round(seconds, 1), round(rss / MB, 1), threads, descriptors, texts)


def watch(server: StartedServer, crowd: Crowd, seconds: float, texts: int) -> list[Sample]:
    """A sample a second until both bounds are reached, the server has died, or three times the seconds are over."""
    rows, start, process = [], time.perf_counter(), psutil.Process(server.process.pid)
    while (now := time.perf_counter() - start) < 3 * seconds and server.process.poll() is None:
        rows.append(look(process, now, crowd.texts))
        if sys.stderr.isatty():
            print(f"\r{now:5.0f} s  RSS {rows[-1].rss_mb:.0f} MB  {crowd.texts} texts ", end="", file=sys.stderr)
        if now >= seconds and crowd.texts >= texts:
            break
        time.sleep(1.0)
    return rows


def growth(rows: list[Sample], after: float) -> tuple[float, float]:
    """Median RSS around `after` seconds, and over the last ten seconds."""
    early = [row.rss_mb for row in rows if abs(row.seconds - after) <= 5]
    late = [row.rss_mb for row in rows if row.seconds >= rows[-1].seconds - 10]
    return median(early), median(late)


def slope(rows: list[Sample], after: float) -> float:
    """Least squares of RSS over time from `after` on, as a share of its median, a minute: a leak that the swings of
    single seconds hide."""
    from numpy import polyfit

    late = [row for row in rows if row.seconds >= after]
    a_minute = polyfit([row.seconds / 60 for row in late], [row.rss_mb for row in late], 1)[0]
    return float(a_minute) / median(row.rss_mb for row in late)


def settled(server: StartedServer, before: Sample, seconds: float = 30.0) -> Sample:
    """The server once its clients are gone: descriptors as before, or as they are when the time is over."""
    process, end = psutil.Process(server.process.pid), time.perf_counter() + seconds
    while True:
        now = look(process, 0, 0)
        if now.descriptors <= before.descriptors or time.perf_counter() > end:
            return now
        time.sleep(0.25)


def loop_blocked(endpoint: Endpoint) -> float | None:
    """The longest time the event loop was blocked, in seconds, where the server says it."""
    connection = endpoint.connect()
    metrics = connection.send("GET", endpoint.root + "/metrics").body.decode()
    connection.close()
    found = LOOP_BLOCKED.search(metrics)
    return float(found[1]) if found else None


def picture(rows: list[Sample], after: float, start: float, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (memory, counts) = pyplot.subplots(2, 1, figsize=(9, 5), sharex=True)
    minutes = [row.seconds / 60 for row in rows]
    memory.plot(minutes, [row.rss_mb for row in rows], linewidth=1)
    memory.axhspan(start * (1 - GROWTH), start * (1 + GROWTH), alpha=0.15, label="± 5 % of the value after one minute")
    memory.axvline(after / 60, linestyle=":", linewidth=1)
    memory.set(ylabel="RSS, MB", ylim=(0, None))
    memory.legend(loc="lower right")
    counts.plot(minutes, [row.descriptors for row in rows], linewidth=1, label="descriptors")
    counts.plot(minutes, [row.threads for row in rows], linewidth=1, label="threads")
    counts.set(xlabel="minutes of load", ylim=(0, None))
    counts.legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=110)


def second_model(named: str, first: str, folder: Path) -> str:
    """The second model's name; by default a small random one, written into `folder`."""
    if named:
        return named
    if first == "fake":
        return "fake-two"
    from random_jina import write_checkpoint

    made = folder / "second-model"
    made.mkdir()
    return str(write_checkpoint(made, layers=2, hidden=64, heads=4, intermediate=128, vocab=500, files=20))


def served(endpoint: Endpoint) -> list[str]:
    connection = endpoint.connect()
    listed = json.loads(connection.send("GET", f"{endpoint.base}/models").body)
    connection.close()
    return [entry["id"] for entry in listed["data"]]


def pool_of(count: int, models: list[str]) -> Pool:
    """Ten of the texts are far over any model's limit, and cut. All as long: a text of some thousand tokens takes a
    fraction of what 8,192 take, and which Python it comes from must not decide that."""
    texts = code_texts(count - 10)
    return Pool([*texts, *(text * -(-LONG // len(text)) for text in texts[:10])], models)


def give_way() -> None:
    """The clients stand for other machines: this program, whose threads they are, gives way to the server. Each thread
    has a niceness of its own on Linux, and those of numpy's library are older than this call."""
    for thread in psutil.Process().threads():
        os.setpriority(os.PRIO_PROCESS, thread.id, 10)


def load(server: StartedServer, crowd: Crowd, searches: Searches, args: argparse.Namespace) -> list[Sample]:
    clients = [Client(n, crowd) for n in range(args.clients)]
    for client in clients:
        client.start()
    searches.start()
    rows = watch(server, crowd, args.seconds, args.texts)
    crowd.stop.set()
    crowd.add(searches.stop())
    for client in clients:
        client.join()
    return rows


def checks(
    rows: list[Sample], crowd: Crowd, before: Sample, after: Sample, blocked: float | None, args: argparse.Namespace
) -> list[tuple[str, str, str, bool | None]]:
    """(what, bound, reached, kept); None: stated only."""
    minute = min(60.0, args.seconds / 3)
    start, end = growth(rows, minute)
    change, steep = end / start - 1, slope(rows, minute)
    most = before.threads + min(32, (os.cpu_count() or 1) + 4)  # asyncio's own pool of threads grows as it is used
    p95 = percentile(crowd.searches, 95) * 1000 if crowd.searches else 0.0
    shown = "not exported" if blocked is None else f"{blocked * 1000:.0f} ms"
    return [
        ("texts answered rightly", f">= {args.texts}", str(crowd.texts), crowd.texts >= args.texts),
        ("wrong answers", "0", str(dict(crowd.wrong) or 0), not crowd.wrong),
        (f"RSS after {minute:.0f} s, at the end, MB", "", f"{start:.0f}, {end:.0f}", None),
        ("growth", f"<= {GROWTH:.0%}", f"{change:+.1%}", change <= GROWTH),
        ("slope a minute after that", f"<= {args.slope:.1%}", f"{steep:+.2%}", steep <= args.slope),
        ("descriptors before, after", "back", f"{before.descriptors}, {after.descriptors}",
         after.descriptors <= before.descriptors),
        ("threads before, after", f"<= {most}", f"{before.threads}, {after.threads}", after.threads <= most),
        ("event loop blocked at most", f"<= {args.blocked * 1000:.0f} ms", shown,
         None if blocked is None else blocked <= args.blocked),
        (f"p95 of {len(crowd.searches)} searches", "", f"{p95:.0f} ms", None),
        ("texts/s", "", f"{crowd.texts / rows[-1].seconds:.0f}", None),
    ]  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--second", default="", metavar="MODEL", help="the second model (a small random one)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seconds", type=float, default=720.0, help="least length (720)")
    parser.add_argument("--texts", type=int, default=30_000, help="least number of texts (30000)")
    parser.add_argument("--pool", type=int, default=1_500, help="different texts (1500)")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--blocked", type=float, default=0.05, metavar="S", help="bound of the event loop (0.05)")
    parser.add_argument("--slope", type=float, default=0.005, help="bound of RSS' slope, share a minute (0.005)")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "memory-bank")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        names = f"{args.model},{second_model(args.second, args.model, Path(home))}"
        env = {
            "EMBEDDING_HOME": home,
            "EMBEDDING_CACHE": "memory",
            "EMBEDDING_CACHE_MEMORY": "1m",
            "EMBEDDING_PRELOAD": "true",
        }
        server = StartedServer("embedserve", own_command(names, args.precision), env)
        try:
            server.wait()
            crowd = Crowd(server.endpoint, pool_of(args.pool, served(server.endpoint)))
            crowd.pool.ask(server.endpoint)
            crowd.pool.fill(server.endpoint)
            searches = Searches(server.endpoint, crowd.pool)
            give_way()
            before = look(psutil.Process(server.process.pid), 0, 0)
            rows = load(server, crowd, searches, args)
            if server.process.poll() is not None:
                print(f"the server died:\n{server.last_lines()}", file=sys.stderr)
                return 1
            blocked = loop_blocked(server.endpoint)
            after = settled(server, before)
        finally:
            server.stop()
    return report(args, rows, crowd, checks(rows, crowd, before, after, blocked, args))


def report(args: argparse.Namespace, rows: list[Sample], crowd: Crowd, found: list[Any]) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "soak.csv").open("w", newline="") as file:
        csv.writer(file).writerows([Sample._fields, *rows])
    minute = min(60.0, args.seconds / 3)
    picture(rows, minute, growth(rows, minute)[0], args.out / "soak.png")
    table = Table("check", "bound", "reached", "", title_justify="left", title=f"soak: {rows[-1].seconds:.0f} s")
    for what, bound, reached, kept in found:
        table.add_row(what, bound, reached, "" if kept is None else "ok" if kept else "BROKEN")
    acts = dict(crowd.acts.most_common())
    table.add_row("acts", "", ", ".join(f"{count} {name}" for name, count in acts.items()), "")
    Console().print(table)
    fields = ("check", "bound", "reached", "kept")
    stated = {"checks": [dict(zip(fields, row, strict=True)) for row in found], "acts": acts}
    (args.out / "soak.json").write_text(json.dumps(stated, indent=2) + "\n")
    return 1 if any(kept is False for *_, kept in found) else 0


if __name__ == "__main__":
    sys.exit(main())
