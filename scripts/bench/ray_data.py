"""Bulk indexing of real packages on Ray Data, with a worker killed in the middle, against `embedserve index`.

    python scripts/bench/ray_data.py FOLDER [--packages 30] [--actors 2] [--short]

FOLDER holds sources of packages as pip downloads them, one command for each (build tools may then come as wheels):

    pip download --no-deps --no-binary requests -d FOLDER requests

    1. all packages in one run of Ray Data into a shared collection; the process that embeds is killed after a third
    2. ten of them again, as clones, by a machine with an empty cache: what the collection has is not embedded again
    3. each package by `embedserve index` (one service, two threads, no cache): ids, payloads and vectors compared

Prints a line for each step and a table. MiniLM with its real weights. Ray must be installed (the extra `scale`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from embedserve.bench.servers import StartedServer, end_on_sigterm, free_port, own_command
from embedserve.indexing.creating import Server, Wanted, create
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.report import Report

MODEL, DIMENSION = "all-MiniLM-L6-v2", 384


def unpacked(folder: Path, target: Path, most: int) -> list[Path]:
    """The packages' sources as folders."""
    found = []
    for archive in sorted(folder.glob("*.tar.gz"))[:most]:
        place = target / archive.name.removesuffix(".tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(place, filter="data")
        found.append(place)
    return found


@contextmanager
def qdrant(storage: Path) -> Iterator[str]:
    """The embedded Qdrant; yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "embedserve.cli", "qdrant", "--storage", str(storage), "--port", str(port)]
    process = subprocess.Popen([*command, "--grpc-port", "off"], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{url}/readyz")
                break
            except httpx.TransportError:
                assert process.poll() is None, "Qdrant did not start"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


class Killer(Display):
    """A display that shows nothing, and kills the process that embeds when a share of the bytes is stored."""

    def __init__(self, share: float) -> None:
        super().__init__(quiet=True)
        self.share, self.total, self.stored, self.killed = share, 0, 0, 0

    def start(self, what: str, files: int, size: int = 0) -> None:
        self.total, self.stored = size, 0

    def advance(self, files: int, size: int, path: str = "", chunks: int = 0) -> None:
        self.stored += size
        if not self.killed and self.total and self.stored > self.share * self.total:
            self.killed = kill_an_actor()


def kill_an_actor() -> int:
    """SIGKILL to a process of this Ray that embeds; its number, 0 for none."""
    import ray

    session = ray._private.worker._global_node.get_session_dir_path()
    for process in psutil.process_iter():
        try:
            if "MapWorker" in process.cmdline()[0] and session in " ".join(process.parent().cmdline()):
                os.kill(process.pid, signal.SIGKILL)
                return int(process.pid)
        except (psutil.Error, IndexError, AttributeError):
            continue
    return 0


def bulk(url: str, folders: Sequence[Path], home: Path, actors: int, display: Display, mark: str) -> list[Report]:
    from embedserve.scaling.bulk import index_repositories
    from embedserve.scaling.work import Bulk

    names = {str(folder): folder.name + mark for folder in folders}
    job = Bulk(url, model=MODEL, actors=actors, home=str(home), collection="team", repositories=names)
    with display:
        return index_repositories(list(names), job, display)


def single(url: str, folders: Sequence[Path]) -> float:
    """`embedserve index` of each into the same collection, anew; seconds."""
    server = StartedServer("plain", own_command(MODEL), {"EMBEDDING_CACHE": "off", "EMBEDDING_THREADS": "2"})
    server.wait()
    began = time.perf_counter()
    try:
        for folder in folders:
            where = ["--qdrant-url", url, "--embeddings-url", server.endpoint.url]
            name = ["--collection", "single", "--repository", folder.name]
            command = [sys.executable, "-m", "embedserve.cli", "index", str(folder), *where, *name]
            subprocess.run(command, check=True, capture_output=True)
    finally:
        server.stop()
    return time.perf_counter() - began


def compared(url: str, folders: Sequence[Path]) -> dict[str, Any]:
    """The points of both collections: equal ids and payloads, and how far the vectors are apart."""
    from embedserve.indexing.shared import SharedStore

    async def read(collection: str, repository: str) -> dict[str, Any]:
        client = Qdrant(url)
        store = SharedStore(client, collection, (repository,))
        await store.open()
        try:
            return {p["id"]: p async for page in store.pages(500) for p in page}
        finally:
            await client.close()

    count, differing, furthest, worst = 0, 0, 0.0, 1.0
    for folder in folders:
        ours, theirs = (asyncio.run(read(collection, folder.name)) for collection in ("team", "single"))
        differing += len(ours.keys() ^ theirs.keys())
        for point in ours.keys() & theirs.keys():
            count += 1
            differing += ours[point]["payload"] != theirs[point]["payload"]
            one, two = np.array(ours[point]["vector"]), np.array(theirs[point]["vector"])
            furthest, worst = max(furthest, float(np.abs(one - two).max())), min(worst, float(one @ two))
    return {"points": count, "differing": differing, "furthest_component": furthest, "least_cosine": worst}


async def make(url: str) -> None:
    client = Qdrant(url)
    for name in ("team", "single"):
        await create(client, Wanted(name, MODEL, DIMENSION), Server())
    await client.close()


def figures(reports: Sequence[Report], actors: int) -> dict[str, Any]:
    chunks, seconds = sum(report.chunks for report in reports), max(report.seconds for report in reports)
    engine = sum(report.engine_seconds for report in reports)
    return {
        "repositories": len(reports),
        "files": sum(report.files for report in reports),
        "chunks": chunks,
        "seconds": seconds,
        "chunks_s": chunks / seconds if seconds else 0.0,
        "share_of_the_time_in_the_engine": engine / (actors * seconds) if seconds else 0.0,
        "embedded": sum(report.embedded for report in reports),
        "reused": sum(report.reused for report in reports),
    }


def say(what: str, found: dict[str, Any]) -> None:
    shown = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps({"what": what, **shown}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=int, default=30)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--short", action="store_true", help="three small packages: to see that it works")
    args = parser.parse_args()
    end_on_sigterm()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", HF_HUB_OFFLINE="1")
    import ray

    with tempfile.TemporaryDirectory() as place, qdrant(Path(place, "storage")) as url:
        root = Path(place)
        os.environ["EMBEDDING_HOME"] = str(root / "home")
        folders = unpacked(args.folder, root / "packages", 3 if args.short else args.packages)
        clones = unpacked(args.folder, root / "clones", 1 if args.short else 10)
        asyncio.run(make(url))
        ray.init(num_cpus=args.actors + 2, include_dashboard=False, log_to_driver=False)
        killer = Killer(1 / 3)
        first = figures(bulk(url, folders, root / "one", args.actors, killer, ""), args.actors)
        say("Ray Data", {**first, "killed": bool(killer.killed)})
        again = figures(bulk(url, clones, root / "two", args.actors, Killer(2.0), "-clone"), args.actors)
        say("clones, another machine", {**again, "reuse": again["reused"] / again["chunks"]})
        ray.shutdown()
        seconds = single(url, folders)
        say("embedserve index", {"seconds": seconds, "chunks_s": first["chunks"] / seconds})
        found = compared(url, folders)
        say("compared", {**found, "load_1min": os.getloadavg()[0]})
    return 1 if found["differing"] or not killer.killed else 0


if __name__ == "__main__":
    sys.exit(main())
