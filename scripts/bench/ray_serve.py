"""The service on Ray Serve against plain processes, and what becomes of requests when replicas go.

    python scripts/bench/ray_serve.py throughput [--short] [--out measured.json]
    python scripts/bench/ray_serve.py kill | zero | rolling [--short]

throughput   plain processes of one and two threads and Ray Serve with one and two replicas of one thread, in turn, each
             started for its turn alone, so that nobody pays for an idle Ray; then three replicas and one client alone.
             --out: for scale_sim.py check; Poisson arrivals at a third and two thirds of the capacity then, too
kill         two replicas under the load of OpenAI's SDK with its own two retries; one is killed by SIGKILL
zero         a replica that nobody asks goes, and comes back for the next request
rolling      all replicas are replaced under load; no retries here: every answer counts

The model is MiniLM with its real weights, its cache off; a request has --texts texts of code. Answers are compared with
those before. Ray must be installed (the extra `scale`). Each figure is printed as JSON, the last line is a table.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import functools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import psutil
from scale_sim import poisson

from embedserve.bench.report import cpu_name, percentile
from embedserve.bench.servers import StartedServer, end_on_sigterm, free_port, own_command
from embedserve.bench.texts import waves

MODEL, TEXTS = "all-MiniLM-L6-v2", 60  # of a request, as the extensions send
CLIENTS = 10
NEAR = 5e-3  # of the vectors of one text in batches of another make-up, in bf16


@dataclass
class Seen:
    """What clients saw. `times`: seconds of each answer; `refused`: (status, what)."""

    times: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    wrong: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)

    def figures(self, seconds: float) -> dict[str, float]:
        p50, p95 = (1000 * (percentile(self.times, share) or 0.0) for share in (50, 95))
        return {"requests_s": len(self.times) / seconds, "p50_ms": p50, "p95_ms": p95}


class Load:
    """Clients over the same requests, each answer compared. `ask`: (url, texts) -> vectors; raises what it refuses."""

    def __init__(self, url: str, requests: Sequence[list[str]], ask: Callable[..., Any]) -> None:
        self.url, self.requests, self.ask = url, requests, ask
        self.expected = [ask(url, texts) for texts in requests]
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def once(self, number: int, seen: Seen) -> None:
        at = number % len(self.requests)
        began = time.perf_counter()
        try:
            rows = self.ask(self.url, self.requests[at])
        except Exception as error:  # whatever a client sees is what is counted
            seen.refused.append((int(getattr(error, "status_code", 0) or 0), repr(error)[:200]))
            return
        ended = time.perf_counter()
        with self._lock:  # both, so that they stay in step
            seen.times.append(ended - began)
            seen.ends.append(ended)
        seen.wrong += not np.allclose(rows, self.expected[at], atol=NEAR)

    def closed(self, clients: int, seconds: float = 1e9, warm_up: float = 0.0) -> Seen:
        """Each client asks again when it has the answer, until `stop` is set at the latest. Seen is what ended in the
        `seconds` after the warm-up."""
        seen, since = Seen(), time.perf_counter() + warm_up
        until = since + seconds

        def client(which: int) -> None:
            number = which * 7
            while time.perf_counter() < until and not self.stop.is_set():
                self.once(number, seen)
                number += 1

        threads = [threading.Thread(target=client, args=(which,)) for which in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        within = [(took, end) for took, end in zip(seen.times, seen.ends, strict=True) if since < end <= until]
        seen.times, seen.ends = [took for took, _ in within], [end for _, end in within]
        return seen

    def opened(self, rate: float, seconds: float) -> Seen:
        """Requests by a Poisson process, whether or not the last one is answered."""
        seen, threads, began = Seen(), [], time.perf_counter()
        for number, at in enumerate(poisson(rate, seconds)):
            time.sleep(max(0.0, began + at - time.perf_counter()))
            threads.append(threading.Thread(target=self.once, args=(number, seen)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return seen


@functools.cache
def _http() -> httpx.Client:
    """One for all threads: to make one takes as much CPU as some answers."""
    return httpx.Client(timeout=120, limits=httpx.Limits(max_connections=None, max_keepalive_connections=None))


@functools.cache
def _sdk(url: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=f"{url}/v1", api_key="local", timeout=120)


def plain_ask(url: str, texts: list[str]) -> Any:
    """One request without retries, over a kept connection; in base64, as OpenAI's SDK and the extensions ask."""
    answer = _http().post(f"{url}/v1/embeddings", json={"input": texts, "encoding_format": "base64"})
    answer.raise_for_status()
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in answer.json()["data"]])


def sdk_ask(url: str, texts: list[str]) -> Any:
    """One request by OpenAI's SDK with the retries that it has by itself."""
    return np.array([row.embedding for row in _sdk(url).embeddings.create(input=texts, model=MODEL).data])


@contextlib.contextmanager
def plain(threads: int) -> Iterator[str]:
    """A plain process; yields its URL."""
    server = StartedServer(f"plain {threads}", own_command(MODEL), {**ENVIRONMENT, "EMBEDDING_THREADS": str(threads)})
    server.wait()
    try:
        yield server.endpoint.url.removesuffix("/v1")
    finally:
        server.stop()


@contextlib.contextmanager
def on_ray(**options: Any) -> Iterator[str]:
    """Ray Serve with our application; yields the proxy's URL."""
    import ray
    from ray import serve

    port = free_port()
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        deploy(**options)
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()


def deploy(**options: Any) -> None:
    """(Re)deploy with these ScaleOptions, and wait until it runs."""
    from embedserve.scaling.app import build
    from embedserve.scaling.options import ScaleOptions
    from ray import serve

    serve.run(build(ScaleOptions(models=MODEL, **options)), name="embedserve")


def fixed(replicas: int) -> dict[str, Any]:
    return {"cpus": 1, "min_replicas": replicas, "max_replicas": replicas}


def throughput(args: argparse.Namespace, requests: list[list[str]]) -> dict[str, Any]:
    seconds, rounds, warm_up = (4.0, 1, 1.0) if args.short else (args.seconds, 3, 4.0)
    kinds: dict[str, tuple[int, Any]] = {
        "plain, 1 thread": (1, lambda: plain(1)),
        "Ray, 1 replica": (1, lambda: on_ray(**fixed(1))),
        "plain, 2 threads": (2, lambda: plain(2)),
        "Ray, 2 replicas": (2, lambda: on_ray(**fixed(2))),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    points: list[dict[str, Any]] = []
    for number in range(rounds):
        for name, (cores, start) in kinds.items():
            with start() as url:
                load = Load(url, requests, plain_ask)
                before = cpu_seconds()
                seen = load.closed(args.clients * cores, seconds, warm_up)
                spent = {who: used - before.get(who, 0.0) for who, used in cpu_seconds().items()}
                figures = seen.figures(seconds)
                assert not seen.refused, seen.refused[0]
                assert not seen.wrong, f"{seen.wrong} answers differ"
                found[name].append(figures["requests_s"])
                asked = figures["requests_s"] * (seconds + warm_up)
                cpu = {who: round(1000 * used / asked, 1) for who, used in spent.items() if used > 0.01 * seconds}
                say({"what": name, "round": number, **figures, "cpu_ms_a_request": cpu})
                if name.startswith("Ray") and number == rounds - 1:
                    points.append({"replicas": cores, "clients": args.clients * cores, **figures})
                    if cores == 1:
                        alone = load.closed(1, seconds, warm_up)
                        points.append({"replicas": 1, "clients": 1, **alone.figures(seconds)})
                        say({"what": "one client", **points[-1]})
                    if args.out:
                        points += opened(load, cores, figures["requests_s"], 60.0)
    with on_ray(**fixed(3)) as url:
        load = Load(url, requests, plain_ask)
        seen = load.closed(3 * args.clients, seconds, warm_up)
        points.append({"replicas": 3, "clients": 3 * args.clients, **seen.figures(seconds)})
        say({"what": "Ray, 3 replicas", **points[-1]})
    for point in points:  # the median of the rounds is what a point is
        if point.get("clients") == args.clients * point["replicas"] and point["replicas"] < 3:
            name = f"Ray, {point['replicas']} replica{'s' * (point['replicas'] > 1)}"
            point["requests_s"] = median(found[name])
    middle = {name: median(values) for name, values in found.items()}
    ratios = {
        "Ray 1 replica / plain 1 thread": middle["Ray, 1 replica"] / middle["plain, 1 thread"],
        "Ray 2 replicas / plain 2 threads": middle["Ray, 2 replicas"] / middle["plain, 2 threads"],
    }
    result = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "texts": args.texts,
        "points": points,
        "rounds": found,
        **ratios,
    }
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1))
    return result


def cpu_seconds() -> dict[str, float]:
    """CPU time so far, by who took it: the processes that embed, Ray's proxy, the rest of Ray, the clients."""
    found: dict[str, float] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            name = " ".join(process.cmdline())
            if process.pid == os.getpid():
                who = "clients"
            elif "embedserve.cli" in name or "ServeReplica" in name:
                who = "embedding"
            elif "ProxyActor" in name:
                who = "proxy"
            elif "ray" in name:
                who = "rest of Ray"
            else:
                continue
            times = process.cpu_times()
            found[who] = found.get(who, 0.0) + times.user + times.system
    return found


def opened(load: Load, replicas: int, capacity: float, seconds: float) -> Iterator[dict[str, Any]]:
    for share in (1 / 3, 2 / 3):
        seen = load.opened(share * capacity, seconds)
        point = {"replicas": replicas, "rate": share * capacity, "seconds": seconds, **seen.figures(seconds)}
        say({"what": "Poisson", **point})
        yield point


def kill(args: argparse.Namespace, requests: list[list[str]]) -> dict[str, Any]:
    with on_ray(**fixed(2)) as url:
        load = Load(url, requests, sdk_ask)
        thread, seen = in_background(load, 4)
        time.sleep(3 if args.short else 10)
        before = alive(url, 2)
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        killed = time.perf_counter()
        assert alive(url, 2, {victim}, 180.0), "capacity did not come back"
        back = time.perf_counter() - killed
        time.sleep(2)
        load.stop.set()
        thread.join()
    done = seen[0]
    longest = max(done.times)
    return {
        "answers": len(done.times),
        "wrong": done.wrong,
        "lost_after_the_sdks_retries": len(done.refused),
        "seconds_to_capacity": back,
        "longest_answer_s": longest,
        "first_refusal": done.refused[0][1] if done.refused else "",
    }


def zero(args: argparse.Namespace, requests: list[list[str]]) -> dict[str, Any]:
    options = {"cpus": 1, "min_replicas": 0, "max_replicas": 1, "downscale_delay": 2.0, "upscale_delay": 0.0}
    with on_ray(**options) as url:
        first = timed(lambda: plain_ask(url, requests[0]))
        idle = time.perf_counter()
        while replicas_running():
            assert time.perf_counter() - idle < 180, "the replica did not go"
            time.sleep(0.2)
        gone = time.perf_counter() - idle
        again = timed(lambda: plain_ask(url, requests[0]))
        warm = timed(lambda: plain_ask(url, requests[0]))
    return {"first_answer_s": first, "gone_after_s": gone, "answer_from_zero_s": again, "warm_answer_s": warm}


def rolling(args: argparse.Namespace, requests: list[list[str]]) -> dict[str, Any]:
    with on_ray(**fixed(2), memory="1500m") as url:
        load = Load(url, requests, plain_ask)
        thread, seen = in_background(load, 4)
        time.sleep(3)
        before = alive(url, 2)
        began = time.perf_counter()
        deploy(**fixed(2), memory="1400m")  # an argument of the replicas: all are replaced
        took = time.perf_counter() - began
        after = alive(url, 2, before)
        time.sleep(3)
        load.stop.set()
        thread.join()
    done = seen[0]
    statuses = [status for status, _ in done.refused]
    return {
        "answers": len(done.times),
        "wrong": done.wrong,
        "refused": len(done.refused),
        "statuses": sorted(set(statuses)),
        "replicas_replaced": len(after - before),
        "seconds": took,
        "first_refusal": done.refused[0][1] if done.refused else "",
    }


def in_background(load: Load, clients: int) -> tuple[threading.Thread, list[Seen]]:
    """The thread, and where it puts what was seen."""
    found: list[Seen] = []
    thread = threading.Thread(target=lambda: found.append(load.closed(clients)))
    thread.start()
    return thread, found


def alive(url: str, count: int, without: set[int] | None = None, seconds: float = 60.0) -> set[int]:
    """The processes that answer /health, `count` of them; empty where that takes longer."""
    found: set[int] = set()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            found.add(int(httpx.get(f"{url}/health", timeout=10).json()["pid"]))
        found -= without or set()
        if len(found) >= count:
            return found
    return set()


def replicas_running() -> int:
    from ray import serve

    deployment = serve.status().applications["embedserve"].deployments["embedserve"]
    return sum(deployment.replica_states.values())


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def say(found: dict[str, Any]) -> None:
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}), flush=True)


ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_OFFLINE": "1",
    "EMBEDDING_CACHE": "off",
    "EMBEDDING_WIDE": "off",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("throughput", "kill", "zero", "rolling"))
    parser.add_argument("--short", action="store_true", help="one short round: to see that it works")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"throughput: of a core ({CLIENTS})")
    parser.add_argument("--texts", type=int, default=TEXTS, help=f"of a request ({TEXTS})")
    parser.add_argument("--seconds", type=float, default=30.0, help="throughput: of a turn (30)")
    parser.add_argument("--out", metavar="FILE", help="throughput: the points, for scale_sim.py check")
    args = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(ENVIRONMENT, EMBEDDING_HOME=home)
        (texts,) = waves(1, 16 * args.texts)
        requests = [texts[at : at + args.texts] for at in range(0, len(texts), args.texts)]
        work = {"throughput": throughput, "kill": kill, "zero": zero, "rolling": rolling}[args.what]
        found = work(args, requests)
    say({"what": args.what, "load_1min": os.getloadavg()[0], **{k: v for k, v in found.items() if k != "points"}})
    return 0


if __name__ == "__main__":
    sys.exit(main())
