"""How the embedded Qdrant (or a Qdrant at --url) bears an indexing client: 50,000 points of 768 by default.

    python scripts/bench/qdrant_load.py [--points 50000] [--dim 768] [--indexing-threshold 20000] [--url URL]

Creates a collection with the clients' own settings, upserts in batches of 60 over two connections while another
connection searches with the clients' filter and a fourth asks /readyz; then the same while the index is built, with
a batch of upserts every second; then with the index. Prints rates, percentiles, the index's recall, memory, and the
time to start on that much data, after SIGTERM and after SIGKILL. Vectors are points around 1,000 random centres.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import orjson
import psutil

NAME = "ws-load"
BATCH = 60
NAMESPACE = uuid.UUID("f47ac10b-58cc-4372-a567-0e02b2c3d479")


class Server:
    """An embedded Qdrant of our own on a free port, or just a URL."""

    def __init__(self, url: str | None, storage: Path) -> None:
        self.url, self.storage, self.process = url, storage, None
        if url is None:
            self.start()

    def start(self) -> float:
        started = time.perf_counter()
        command = [sys.executable, "-m", "embedserve.cli", "qdrant", "--port", "0", "--storage", str(self.storage)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "embedded Qdrant on" in line:
                self.url = line.split("embedded Qdrant on ")[1].split(",")[0]
                break
        assert httpx.get(f"{self.url}/readyz").status_code == 200
        threading.Thread(target=lambda: [sys.stderr.write(text) for text in self.process.stderr], daemon=True).start()
        return time.perf_counter() - started

    def stop(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait()


class Watch:
    """Repeats a request on a thread of its own and keeps the times and failures."""

    def __init__(self, request, pause: float) -> None:
        self.times, self.failures = [], 0
        self._request, self._pause, self._end = request, pause, threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def _run(self) -> None:
        while not self._end.is_set():
            started = time.perf_counter()
            try:
                self.failures += self._request().status_code != 200
            except httpx.HTTPError:
                self.failures += 1
            self.times.append(time.perf_counter() - started)
            time.sleep(self._pause)

    def __exit__(self, *_exc) -> None:
        self._end.set()
        self._thread.join()

    def figures(self) -> dict:
        times = sorted(self.times)
        at = lambda share: round(1000 * times[min(len(times) - 1, int(share * len(times)))], 1)  # noqa: E731
        return {"n": len(times), "p50_ms": at(0.5), "p95_ms": at(0.95), "max_ms": at(1), "failed": self.failures}


class Memory(threading.Thread):
    """The peaks of the server and, apart, of its index-building child: resident, and of that not backed by files."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root, self.peaks, self.end = psutil.Process(pid), {}, threading.Event()

    def run(self) -> None:
        while not self.end.wait(0.2):
            for name, found in (("server", [self.root]), ("child", self.root.children())):
                try:
                    for process in found:
                        full = process.memory_info()
                        peak = self.peaks.setdefault(name, {"rss_mb": 0, "without_files_mb": 0, "cpu_s": 0})
                        peak["rss_mb"] = max(peak["rss_mb"], full.rss >> 20)
                        peak["cpu_s"] = round(sum(process.cpu_times()[:2]))
                        peak["without_files_mb"] = max(peak["without_files_mb"], (full.rss - full.shared) >> 20)
                except psutil.Error:
                    continue


class Load:
    """The client's side: points, batches and queries."""

    def __init__(self, points: int, dim: int) -> None:
        self.rng = np.random.default_rng(7)
        centres = self.rng.standard_normal((1000, dim), dtype=np.float32)
        rows = centres[self.rng.integers(0, 1000, points)]
        self.vectors = rows + 0.8 * self.rng.standard_normal((points, dim), dtype=np.float32)

    def batch(self, start: int) -> bytes:
        vectors = self.vectors[start : start + BATCH]
        points = [self._point(start + i, vector) for i, vector in enumerate(vectors)]
        return orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)

    def _point(self, i: int, vector: np.ndarray) -> dict:
        segments = {"0": "src" if i % 4 else "tests", "1": f"part{i % 50}", "2": f"file{i // 20}.py"}
        payload = {"filePath": "/".join(segments.values()), "codeChunk": f"def f{i}(): pass\n" * 12, "startLine": i}
        payload |= {"endLine": i + 12, "segmentHash": f"{i:064x}", "pathSegments": segments}
        return {"id": str(uuid.uuid5(NAMESPACE, str(i))), "vector": vector, "payload": payload}

    def query(self, exact: bool = False, row: int | None = None) -> bytes:
        row = int(self.rng.integers(0, len(self.vectors))) if row is None else row
        body = {
            "query": self.vectors[row] * np.float32(1.01),
            "filter": {
                "must": [{"key": "pathSegments.0", "match": {"value": "src"}}],
                "must_not": [{"key": "type", "match": {"value": "metadata"}}],
            },
            "score_threshold": 0.4,
            "limit": 50,
            "params": {"hnsw_ef": 128, "exact": exact},
            "with_payload": {"include": ["filePath", "codeChunk", "startLine", "endLine", "pathSegments"]},
        }
        return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


JSON = {"content-type": "application/json"}


def create(http: httpx.Client, dim: int, threshold: int, hnsw: str) -> None:
    http.delete(f"/collections/{NAME}")
    m, ef_construct = map(int, hnsw.split(","))
    body = {
        "vectors": {"size": dim, "distance": "Cosine", "on_disk": True},
        "hnsw_config": {"m": m, "ef_construct": ef_construct, "on_disk": True},
        "optimizers_config": {"indexing_threshold": threshold},
    }
    http.put(f"/collections/{NAME}", json=body).raise_for_status()
    for field in ["type", *(f"pathSegments.{i}" for i in range(5))]:
        index = {"field_name": field, "field_schema": "keyword"}
        http.put(f"/collections/{NAME}/index", json=index).raise_for_status()


def show(name: str, **figures: object) -> None:
    print(f"{name}: {json.dumps(figures)}", flush=True)


def measure(server: Server, count: int, dim: int, threshold: int, window: float, hnsw: str) -> None:
    load, path = Load(count, dim), f"/collections/{NAME}"
    http = httpx.Client(base_url=server.url, timeout=300)
    create(http, dim, threshold, hnsw)

    def searching(pause: float) -> Watch:
        client = httpx.Client(base_url=server.url, timeout=300)
        return Watch(lambda: client.post(f"{path}/points/query", content=load.query(), headers=JSON), pause)

    def asking() -> Watch:
        client = httpx.Client(base_url=server.url, timeout=300)
        return Watch(lambda: client.get("/readyz"), 0.02)

    def upsert(start: int) -> None:
        reply = http.put(f"{path}/points?wait=true", content=load.batch(start), headers=JSON)
        reply.raise_for_status()

    memory = Memory(server.process.pid) if server.process else None
    if memory:
        memory.start()
    started = time.perf_counter()
    with searching(0.05) as search, asking() as ready, ThreadPoolExecutor(2) as pool:
        list(pool.map(upsert, range(0, count, BATCH)))
        seconds = time.perf_counter() - started
    show("upsert", points=count, dim=dim, points_per_s=round(count / seconds), seconds=round(seconds, 1))
    show("while upserting", query=search.figures(), readyz=ready.figures())

    info = http.get(path).json()["result"]
    with searching(0.05) as search:
        time.sleep(5)
    show("exact search, idle", indexed=info["indexed_vectors_count"], query=search.figures())

    waited = time.monotonic()
    while threshold and info["status"] != "yellow" and time.monotonic() - waited < 30:
        time.sleep(0.1)
        info = http.get(path).json()["result"]
    if info["status"] == "yellow":
        started, batch = time.perf_counter(), 0
        with searching(0.05) as search, asking() as ready:
            while info["status"] == "yellow" and time.perf_counter() - started < window:
                info = http.get(path).json()["result"]
                upsert(batch % count)
                batch += BATCH
                time.sleep(1)
            seconds = time.perf_counter() - started
        show("while the index is built", seconds=round(seconds, 1), query=search.figures(), readyz=ready.figures())
    if info["status"] == "green" and info["indexed_vectors_count"]:
        with searching(0.05) as search:
            time.sleep(5)
        figures = {"indexed": info["indexed_vectors_count"], "recall": recall(http, load)}
        show("with the index", query=search.figures(), **figures)
    assert http.post(f"{path}/points/count", json={}).json()["result"]["count"] == count
    if memory:
        memory.end.set()
        show("memory peaks", **memory.peaks)


def recall(http: httpx.Client, load: Load) -> float:
    """Share of the 50 exact neighbours that the index finds, over 50 queries."""
    shares = []
    for row in range(0, len(load.vectors), max(1, len(load.vectors) // 50)):
        found = []
        for exact in (True, False):
            body = load.query(exact, row)
            reply = http.post(f"/collections/{NAME}/points/query", content=body, headers=JSON)
            found.append({point["id"] for point in reply.json()["result"]["points"]})
        shares.append(len(found[0] & found[1]) / max(1, len(found[0])))
    return round(statistics.mean(shares), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument(
        "--indexing-threshold", type=int, default=20_000, help="KB of vectors from which to index; 0: never"
    )
    parser.add_argument("--hnsw", default="64,512", help="m and ef_construct; the default is the clients' own")
    parser.add_argument("--window", type=float, default=3600, help="most seconds to watch the building of the index")
    parser.add_argument("--url", help="a running Qdrant; its collection ws-load is replaced")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(args.url, Path(folder))
        measure(server, args.points, args.dim, args.indexing_threshold, args.window, args.hnsw)
        if server.process:
            size = sum(file.stat().st_blocks * 512 for file in Path(folder).rglob("*") if file.is_file())
            server.stop(signal.SIGTERM)
            after_term = server.start()
            server.stop(signal.SIGKILL)
            show("start-up", disk_mb=size >> 20, after_sigterm_s=after_term, after_sigkill_s=server.start())
            server.stop(signal.SIGTERM)


if __name__ == "__main__":
    main()
