"""One keep-alive connection to an OpenAI-compatible server.

Light, because the load generator shares the cores with the server it measures: `http.client` in a thread,
bodies serialised before the clock starts, answers kept as bytes and decoded after it has stopped.

The body is exactly the indexing clients': {"input", "model", "encoding_format": "base64"}.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from embedserve.errors import SetupError


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens. `url` is what a user writes: with or without /v1 and /embeddings."""

    url: str
    api_key: str = "local"
    timeout: float = 900.0

    def __post_init__(self) -> None:
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise SetupError(f"{self.url!r} is not a URL; write http://127.0.0.1:4000/v1")

    @property
    def _parts(self) -> Any:
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        return str(self._parts.hostname)

    @property
    def port(self) -> int:
        return int(self._parts.port or (443 if self._parts.scheme == "https" else 80))

    @property
    def base(self) -> str:
        """The path before /embeddings and /models."""
        return str(self._parts.path.rstrip("/").removesuffix("/embeddings")) or "/v1"

    @property
    def root(self) -> str:
        """The path before /health."""
        return self.base.removesuffix("/v1")

    def connect(self) -> Connection:
        return Connection(self)


@dataclass(frozen=True)
class Reply:
    """status 0: no answer (connection refused, dropped or timed out); `body` then says why."""

    status: int
    body: bytes
    seconds: float

    def error(self) -> str:
        """What went wrong, short, for people; empty for a 200."""
        if self.status == 200:
            return ""
        try:
            said = json.loads(self.body)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = self.body[:200].decode("utf-8", "replace")
        return f"{self.status} {said}" if self.status else f"no answer: {said}"


class Connection:
    """Used by one thread. Reconnects by itself when the server has closed an idle connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        kind = http.client.HTTPSConnection if endpoint.url.startswith("https") else http.client.HTTPConnection
        self.endpoint = endpoint
        self._http = kind(endpoint.host, endpoint.port, timeout=endpoint.timeout)
        self._headers = {
            "Authorization": f"Bearer {endpoint.api_key}",
            "Content-Type": "application/json",
        }

    def embed(self, body: bytes) -> Reply:
        return self.send("POST", f"{self.endpoint.base}/embeddings", body)

    def send(self, method: str, path: str, body: bytes | None = None) -> Reply:
        start = time.perf_counter()
        try:
            fresh = self._http.sock is None
            try:
                status, data = self._exchange(method, path, body)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if fresh:
                    raise
                self._http.close()  # it was idle, and the server closed it as we wrote
                status, data = self._exchange(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            return Reply(0, f"{type(error).__name__}: {error}".encode(), time.perf_counter() - start)
        return Reply(status, data, time.perf_counter() - start)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._http.request(method, path, body=body, headers=self._headers)
        response = self._http.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._http.close()


def request_body(texts: Sequence[str], model: str | None) -> bytes:
    """The request as Roo Code and Zoo Code send it. model None: left out, the server's default."""
    fields: dict[str, Any] = {"input": list(texts), "model": model, "encoding_format": "base64"}
    if model is None:
        del fields["model"]
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def decode(reply: Reply, count: int) -> tuple[npt.NDArray[np.float32], int]:
    """The vectors (count, dimension) and the tokens that `usage` states.

    Raises ValueError when the answer is not `count` finite vectors of one length.
    """
    answer = json.loads(reply.body)
    rows = [_vector(item["embedding"]) for item in answer["data"]]
    if len(rows) != count or len({len(row) for row in rows}) != 1:
        raise ValueError(f"{count} texts were sent, {len(rows)} vectors came back, or of different lengths")
    vectors = np.stack(rows)
    if not np.isfinite(vectors).all():
        raise ValueError("the answer holds NaN or infinite numbers")
    return vectors, int((answer.get("usage") or {}).get("prompt_tokens") or 0)


def _vector(embedding: str | list[float]) -> npt.NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4")
    return np.asarray(embedding, dtype=np.float32)


def served_model(endpoint: Endpoint, wanted: str | None) -> dict[str, Any]:
    """The entry of GET /v1/models for `wanted` (default: the first), `{"id": wanted}` where there is no list.

    Raises SetupError when the server is not up, refuses the key, or serves something else.
    """
    connection = endpoint.connect()
    try:
        reply = connection.send("GET", f"{endpoint.base}/models")
    finally:
        connection.close()
    if reply.status == 0:
        raise SetupError(f"no server at {endpoint.url} ({reply.error()}); start it: embedserve serve")
    if reply.status in (401, 403):
        raise SetupError(f"{endpoint.url} refuses the API key ({reply.error()}); give it with --api-key")
    entries: list[dict[str, Any]] = []
    if reply.status == 200:
        try:
            entries = [entry for entry in json.loads(reply.body)["data"] if isinstance(entry.get("id"), str)]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SetupError(f"{endpoint.url} does not speak the OpenAI API ({endpoint.base}/models)") from None
    if wanted is None:
        if not entries:
            raise SetupError(f"{endpoint.url} does not say which model it serves; name it with --model")
        return entries[0]
    known = next((entry for entry in entries if entry["id"] == wanted), None)
    return known or {"id": wanted}  # an alias, perhaps: the first request will tell
