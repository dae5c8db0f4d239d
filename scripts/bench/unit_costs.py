"""The unit costs of an index, for scale.md: CPU a chunk, bytes a point, CPU a search.

    python scripts/bench/unit_costs.py [--model all-MiniLM-L6-v2] [--folder MODEL_DIR]... [--points 20000] [--short]

embedding   texts of real code (the clients' lengths) to a service of one thread, cache off: CPU seconds of its process
            by the text, warm. Models by name, or folders of random weights (random_jina.py, random_model.py)
points      chunks of the standard library as `embedserve index` cuts them, with random unit vectors, in a collection
            of `collections create`: bytes of the storage and of the payload by the point
searches    one client's nearest ten of that collection, with and without a repository: CPU of the Qdrant process by
            the search, so searches a second a core

The embedded Qdrant is measured; a server's bytes are those of the same library, its speed is not this one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray_data import qdrant

from embedserve.bench.client import decode, request_body
from embedserve.bench.report import cpu_name
from embedserve.bench.servers import Meter, StartedServer, end_on_sigterm, listener, own_command
from embedserve.bench.texts import waves
from embedserve.indexing.chunk import Chunk, chunk_text
from embedserve.indexing.creating import Server, Wanted, create
from embedserve.indexing.languages import language_of
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.shared import SharedStore
from embedserve.indexing.stored import Point

BATCH = 60


def embedding(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """CPU of a warm service by the text."""
    server = StartedServer(model, own_command(model), {"EMBEDDING_CACHE": "off", "EMBEDDING_THREADS": "1"})
    server.wait()
    meter = Meter(server.process.pid)
    try:
        connection = server.endpoint.connect()
        groups = [texts[at : at + BATCH] for at in range(0, len(texts), BATCH)]
        decode(connection.embed(request_body(groups[0], None)), len(groups[0]))
        time.sleep(0.5)
        before, began, tokens, dimension = meter.cpu(), time.perf_counter(), 0, 0
        for group in groups[1:]:
            vectors, used = decode(connection.embed(request_body(group, None)), len(group))
            tokens, dimension = tokens + used, vectors.shape[1]
        count, cpu = len(texts) - len(groups[0]), meter.cpu() - before
        seconds = time.perf_counter() - began
    finally:
        meter.close()
        server.stop()
    shown = {"model": Path(model).name, "dimension": dimension, "tokens_a_text": tokens / count}
    return {**shown, "cpu_ms_a_text": 1000 * cpu / count, "cpu_ms_a_token": 1000 * cpu / tokens, "seconds": seconds}


def chunks(most: int) -> Iterator[Chunk]:
    """Of Python's own library."""
    root, count = Path(sysconfig.get_paths()["stdlib"]), 0
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        language = language_of(path.name)
        assert language
        for chunk in chunk_text(str(path.relative_to(root)), path.read_text("utf-8", "replace"), language).chunks:
            yield chunk
            count += 1
            if count == most:
                return


async def filled(url: str, found: Sequence[Chunk], dimension: int, quantization: str) -> SharedStore:
    """A collection of ten repositories with the chunks, random directions as vectors."""
    client = Qdrant(url)
    await create(client, Wanted("units", "none", dimension, quantization), Server())
    # as a large collection is: with its graph and its quantised vectors
    await client.write("PATCH", "/collections/units", {"optimizers_config": {"indexing_threshold": 500}})
    draw = np.random.default_rng(0)
    for number in range(10):
        store = SharedStore(client, "units", (f"r{number}",))
        await store.open()
        mine = found[number::10]
        for at in range(0, len(mine), 200):
            part = mine[at : at + 200]
            await store.upsert(
                [Point(c, row.tolist()) for c, row in zip(part, unit(draw, len(part), dimension), strict=True)]
            )
    return SharedStore(client, "units")


def unit(draw: np.random.Generator, count: int, dimension: int) -> Any:
    rows = draw.normal(size=(count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


async def searches(store: SharedStore, meter: Meter, count: int, dimension: int) -> dict[str, float]:
    """CPU and wall milliseconds a search."""
    await store.open()
    draw = np.random.default_rng(1)
    queries = unit(draw, count, dimension)
    await store.query(queries[0], 10, None)
    before, began = meter.cpu(), time.perf_counter()
    for query in queries:
        await store.query(query, 10, None)
    cpu, wall = (meter.cpu() - before) / count, (time.perf_counter() - began) / count
    return {"cpu_ms": 1000 * cpu, "wall_ms": 1000 * wall, "a_second_a_core": 1 / cpu if cpu else 0.0}


async def settled(store: SharedStore, points: int) -> int:
    """Waits for the index, which is begun after ten seconds without a write; gives how many vectors are in it."""
    indexed, began = 0, time.monotonic()
    while True:
        info = await store.qdrant.call("GET", "/collections/units")
        indexed = int(info["indexed_vectors_count"])
        if info["status"] == "green" and (indexed > 0.9 * points or time.monotonic() - began > 30):
            return indexed
        await asyncio.sleep(0.5)


async def storage(dimension: int, quantization: str, most: int, count: int) -> dict[str, Any]:
    """Bytes a point, and searches of all repositories and of one."""
    found = list(chunks(most))
    payload = sum(len(json.dumps(chunk.payload(), ensure_ascii=False).encode()) for chunk in found) / len(found)
    with tempfile.TemporaryDirectory() as place, qdrant(Path(place)) as url, contextlib.ExitStack() as ends:
        from embedserve.bench.client import Endpoint

        pid = listener(Endpoint(url))
        assert pid
        meter = Meter(pid)
        ends.callback(meter.close)
        await asyncio.sleep(1)
        empty = meter.rss()
        store = await filled(url, found, dimension, quantization)
        indexed = await settled(store, len(found))
        await asyncio.sleep(6)  # the store writes what it holds every five seconds
        size = sum(path.stat().st_blocks * 512 for path in Path(place).rglob("*") if path.is_file())
        everywhere = await searches(store, meter, count, dimension)
        one = await searches(SharedStore(store.qdrant, "units", ("r3",)), meter, count, dimension)
        grown = meter.rss() - empty
    shown = {"dimension": dimension, "quantization": quantization or "none", "points": len(found), "indexed": indexed}
    sizes = {"payload_bytes": payload, "disk_bytes_a_point": size / len(found), "rss_bytes_a_point": grown / len(found)}
    flat = {
        f"{kind}_{key}": value for kind, found in (("all", everywhere), ("one", one)) for key, value in found.items()
    }
    return {**shown, **sizes, **flat}


def say(what: str, found: dict[str, Any]) -> None:
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps({"what": what, **shown}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="a model with its real weights")
    parser.add_argument("--folder", action="append", default=[], help="a model in a folder")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--short", action="store_true", help="few texts and points: to see that it works")
    args = parser.parse_args()
    end_on_sigterm()
    os.environ.update(HF_HUB_OFFLINE="1")
    with tempfile.TemporaryDirectory() as home:
        os.environ["EMBEDDING_HOME"] = home
        say("machine", {"cpu": cpu_name(), "load_1min": os.getloadavg()[0]})
        (texts,) = waves(1, 240 if args.short else 1260)
        for model in [*(args.model or ["all-MiniLM-L6-v2"]), *args.folder]:
            say("embedding", embedding(model, texts))
        points, count = (1000, 20) if args.short else (args.points, 200)
        for dimension, quantization in ((384, "scalar"), (768, ""), (768, "scalar"), (768, "binary")):
            say("storage", asyncio.run(storage(dimension, quantization, points, count)))
        say("machine", {"load_1min": os.getloadavg()[0]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
