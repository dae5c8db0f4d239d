"""A Qdrant to test: the embedded one in a process of its own, or a real server at QDRANT_URL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient

EXTERNAL = os.environ.get("QDRANT_URL")
embedded_only = pytest.mark.skipif(bool(EXTERNAL), reason="about the embedded Qdrant, and QDRANT_URL is set")


class Embedded:
    """`embedserve qdrant` on a free port. start: what Python runs in place of `-m embedserve.cli`."""

    def __init__(
        self,
        storage: Path,
        *options: str,
        env: dict[str, str] | None = None,
        start: Sequence[str] = ("-m", "embedserve.cli"),
    ) -> None:
        command = [sys.executable, *start, "qdrant", "--port", "0", "--storage", str(storage)]
        ours = ("QDRANT_API_KEY", "QDRANT_GRPC_PORT")
        environ = {name: value for name, value in os.environ.items() if name not in ours} | (env or {})
        self.log = storage.parent / f"{storage.name}-{uuid.uuid4().hex[:6]}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, *options], stderr=log, env=environ)
        deadline = time.monotonic() + 60
        while "embedded Qdrant on" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        self.url = self.log.read_text().split("embedded Qdrant on ")[1].split(",")[0]

    @property
    def grpc_port(self) -> int:
        """Once gRPC listens, which is a moment after REST does; started with QDRANT_GRPC_PORT."""
        deadline = time.monotonic() + 30
        while "gRPC on " not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return int(self.log.read_text().split("gRPC on ")[1].split()[0].rpartition(":")[2])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def __enter__(self) -> Embedded:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.kill()


def over_grpc(server: Embedded, **options: Any) -> QdrantClient:
    """A client that says everything over gRPC that it can."""
    return QdrantClient(url=server.url, grpc_port=server.grpc_port, prefer_grpc=True, timeout=60, **options)


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if EXTERNAL:
        yield EXTERNAL
        return
    with Embedded(tmp_path_factory.mktemp("qdrant") / "storage") as server:
        yield server.url
        assert server.stop() == 0


@pytest.fixture(scope="session")
def http(url: str) -> Iterator[httpx.Client]:
    headers = {"api-key": os.environ["QDRANT_API_KEY"]} if EXTERNAL and "QDRANT_API_KEY" in os.environ else {}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def name(http: httpx.Client) -> Iterator[str]:
    """The name of a collection that is not there yet and is deleted afterwards."""
    name = "ws-" + uuid.uuid4().hex[:16]
    yield name
    http.delete(f"/collections/{name}")


@pytest.fixture
def collection(http: httpx.Client, name: str) -> str:
    """The path of a collection of four-dimensional vectors under cosine."""
    body = {"vectors": {"size": 4, "distance": "Cosine"}}
    assert http.put(f"/collections/{name}", json=body).json()["result"] is True
    return f"/collections/{name}"
