"""What Roo, Zoo and Kilo Code keep of a folder is never touched: not by index, --watch, --recreate or --delete."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from embedserve.indexing.stored import CLIENTS_MARKER_ID
from embedserve.indexing.workspace import clients_collection_name, collection_name
from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment

KILO_MARKER_ID = "f946a536-9af4-4f1f-9f95-7d6efb4647d5"
SIZE = 8  # of the clients' vectors; another model's than ours


def clients_points(kilo: bool) -> list[models.PointStruct]:
    """Chunks of files that are there, that changed and that are gone, and the client's marker, as the clients write."""
    points = []
    for number, path in enumerate(("a.py", "src/b.py", "gone.py")):
        payload: dict[str, Any] = {"filePath": path, "codeChunk": "x = 1", "startLine": 1, "endLine": 1}
        payload |= {"segmentHash": f"h{number}", "pathSegments": dict(enumerate(path.split("/")))}
        payload |= {"fileHash": f"f{number}"} if kilo else {}
        payload["pathSegments"] = {str(key): value for key, value in payload["pathSegments"].items()}
        points.append(models.PointStruct(id=number, vector=[0.1 * number + 0.1] * SIZE, payload=payload))
    marker: dict[str, Any] = {"type": "metadata", "indexing_complete": True, "completed_at": 1}
    marker |= {"index_schema": 2} if kilo else {}
    identity = KILO_MARKER_ID if kilo else CLIENTS_MARKER_ID
    return [*points, models.PointStruct(id=identity, vector=[0.0] * SIZE, payload=marker)]


def everything(client: QdrantClient, name: str) -> dict[str, Any]:
    found, _ = client.scroll(name, limit=1000, with_payload=True, with_vectors=True)
    return {str(point.id): (point.payload, point.vector) for point in found}


def paths(client: QdrantClient, name: str) -> set[str]:
    if not client.collection_exists(name):
        return set()
    found, _ = client.scroll(name, limit=1000, with_payload=True)
    return {str(point.payload["path"]) for point in found if point.payload and "path" in point.payload}


def wait_for_paths(client: QdrantClient, name: str, wanted: set[str]) -> None:
    deadline = time.monotonic() + 30
    while (found := paths(client, name)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.slow
def test_index_watch_recreate_and_delete_leave_the_clients_collections_as_they_were(
    tmp_path: Path, qdrant_url: str
) -> None:
    client = QdrantClient(url=qdrant_url, timeout=60, check_compatibility=False)
    folders = {"roo": tmp_path / "roo", "kilo": tmp_path / "kilo"}  # Zoo writes what Roo does
    before = {}
    for name, folder in folders.items():
        (folder / "src").mkdir(parents=True)
        (folder / "a.py").write_text("def apple(value):\n    return value * 3  # and some more text\n")
        (folder / "src" / "b.py").write_text("def banana(value):\n    return value * 4  # and some more text\n")
        theirs = clients_collection_name(str(folder))
        client.create_collection(theirs, models.VectorParams(size=SIZE, distance=models.Distance.COSINE))
        client.upsert(theirs, clients_points(name == "kilo"), wait=True)
        before[name] = everything(client, theirs)
        assert len(before[name]) == 4
    with EmbeddingStandIn() as service:
        options = ["--embeddings-url", service.url, "--qdrant-url", qdrant_url]
        for folder in folders.values():
            _live_through_everything(client, folder, options)
    for name, folder in folders.items():
        assert everything(client, clients_collection_name(str(folder))) == before[name]
        client.delete_collection(clients_collection_name(str(folder)))


def _live_through_everything(client: QdrantClient, folder: Path, options: list[str]) -> None:
    own, environment = collection_name(str(folder)), clean_environment()

    def index(*arguments: str) -> None:
        command = [*EMBEDSERVE, "index", str(folder), *arguments, *options]
        subprocess.run(command, check=True, timeout=60, env=environment, capture_output=True)

    index()
    assert paths(client, own) == {"a.py", "src/b.py"}
    (folder / "a.py").unlink()
    watching = subprocess.Popen(
        [*EMBEDSERVE, "index", str(folder), "--watch", *options],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_paths(client, own, {"src/b.py"})
        (folder / "src").rename(folder / "lib")
        wait_for_paths(client, own, {"lib/b.py"})
    finally:
        watching.send_signal(signal.SIGINT)
        watching.wait(20)
    index("--recreate")
    index("--delete")
    assert not client.collection_exists(own)
