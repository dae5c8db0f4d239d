"""What the service and Qdrant say by REST, in our words; and clients of both for one quick search.

A search takes about 20 ms, and importing httpx, asyncio and numpy takes ten times that. So `embedserve search` speaks
through the standard library: `LightQdrant` and `LightEmbedder` have the methods of `Qdrant` and `Embedder` that a
search calls, `async` in form and blocking in fact; `run` runs a coroutine that waits for nothing else. They try once:
a search answers by words where a service is away. Proxies and TLS are httpx's matter (`is_simple`).
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Coroutine, Sequence
from struct import unpack
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from embedserve import __version__
from embedserve.errors import IndexingFailed
from embedserve.indexing.workspace import is_this_machine

T = TypeVar("T")
TIMEOUT = 20.0  # seconds; a service that loads its model holds a request for up to 10
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


class Refused(IndexingFailed):
    """Qdrant answered with an error. `status`: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits: of one over the light clients."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise RuntimeError("it waits for something: run it with asyncio")


def is_simple(url: str) -> bool:
    """Whether the light clients reach it: plain HTTP, and no proxy between."""
    return url.startswith("http://") and (is_this_machine(url) or not any(map(os.environ.get, _PROXIES)))


class LightQdrant:
    """Of `Qdrant`, what a search needs."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url
        self._http = _Http(with_port(url), {"api-key": api_key} if api_key else {})

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Raises Refused, IndexingFailed."""
        try:
            status, content = self._http.request(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise IndexingFailed(qdrant_unreachable(self.url, error)) from None
        if not 200 <= status < 300:
            raise Refused(status, qdrant_refusal(status, content, self.url))
        answer = _parsed(content)
        if answer is None:
            raise IndexingFailed(f"{self.url} answers, but not as Qdrant does: is --qdrant-url right?")
        return answer.get("result", answer)

    async def write(self, method: str, path: str, body: Any = None) -> Any:
        """As `call`: nothing is tried again."""
        return await self.call(method, path, body)

    async def close(self) -> None:
        self._http.close()


class LightEmbedder:
    """Of `Embedder`, what a search needs: `model` and `dimension` are right after `embed`."""

    def __init__(self, url: str, api_key: str | None = None, model: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.dimension = 0
        self._http = _Http(self.url, {"Authorization": f"Bearer {api_key or 'local'}"})

    async def probe(self) -> None:
        """Find out the model, where none was given. Raises IndexingFailed."""
        if self.model is None:
            listed = self._call("GET", "/models").get("data") or []
            if not listed:
                raise IndexingFailed(f"{self.url}/models lists no model; give one with --model")
            self.model = str(listed[0].get("id"))

    async def told_window(self) -> int | None:
        """The model's window, 0 where the service does not say it; None: it does not answer."""
        try:
            listed = self._call("GET", "/models").get("data") or []
            entry: dict[str, Any] = next((e for e in listed if self.model in (None, e.get("id"))), {})
        except (IndexingFailed, AttributeError, TypeError):
            return None
        window = entry.get("max_tokens") or entry.get("max_model_len")
        return window if isinstance(window, int) else 0

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text. Raises IndexingFailed."""
        body = {"input": list(texts), "model": self.model, "encoding_format": "base64"}
        answer = self._call("POST", "/embeddings", body)
        try:
            rows = [_row(item["embedding"]) for item in answer["data"]]
            self.dimension = len(rows[0])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise IndexingFailed(f"{self.url}/embeddings: the answer is no list of embeddings ({error})") from None
        self.model = str(answer.get("model") or self.model)
        return rows

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """A cross-encoder's score of each document, higher is better. Raises IndexingFailed: none is served."""
        return scores_of(self._call("POST", "/rerank", rerank_body(query, documents)), len(documents), self.url)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            status, content = self._http.request(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise IndexingFailed(service_unreachable(self.url, error)) from None
        if not 200 <= status < 300:
            raise IndexingFailed(service_refusal(status, content, self.url + path))
        if (answer := _parsed(content)) is None:
            raise IndexingFailed(
                f"{self.url + path} answers, but not as an OpenAI-compatible server: is --embeddings-url right?"
            )
        return answer

    async def close(self) -> None:
        self._http.close()


class _Http:
    """One connection that is kept open, opened when it is first needed."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        self._base = parts.path.rstrip("/")
        self._headers = {"content-type": "application/json", "user-agent": f"embedserve/{__version__}", **headers}

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, self._base + path, content, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise

    def close(self) -> None:
        self._connection.close()


def with_port(url: str) -> str:
    """`url` with port 6333 where it has none, and with http:// where it has no scheme. Raises IndexingFailed."""
    if "://" not in url:
        url = "http://" + url
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
        parts = parts._replace(netloc="")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise IndexingFailed(f"{url} is no URL of Qdrant; give one like http://127.0.0.1:6333 with --qdrant-url")
    netloc = parts.netloc if port else f"{parts.netloc}:6333"
    return parts._replace(netloc=netloc, path=parts.path.rstrip("/")).geturl()


def collection_path(name: str, rest: str = "") -> str:
    return f"/collections/{quote(name, safe='')}{rest}"


def qdrant_unreachable(url: str, error: Exception) -> str:
    return (
        f"Qdrant at {url} does not answer ({_reason(error)}); start it with "
        "`embedserve qdrant` or `scripts/manage.sh start qdrant`, or see --qdrant-url"
    )


def qdrant_refusal(status: int, content: bytes, url: str) -> str:
    if status in (401, 403):
        return f"Qdrant at {url} refuses the API key; give the right one with --qdrant-api-key or QDRANT_API_KEY"
    try:
        detail = str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        detail = content.decode("utf-8", "replace").strip()
    return f"Qdrant at {url} answered {status}: {detail[:300]}"


def service_unreachable(url: str, error: Exception) -> str:
    return f"the embedding service at {url} does not answer ({_reason(error)}); start it with `embedserve serve`"


def service_refusal(status: int, content: bytes, url: str) -> str:
    try:
        detail = str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        detail = content.decode("utf-8", "replace").strip()[:200]
    advice = {
        401: "; give the right key with --api-key or EMBEDDING_API_KEY",
        403: "; give the right key with --api-key or EMBEDDING_API_KEY",
        404: "; see --model and --embeddings-url",
    }.get(status, "")
    return f"{url} answered {status}: {detail}{advice}"


def rerank_body(query: str, documents: Sequence[str]) -> dict[str, Any]:
    """As Cohere, Jina and Voyage have it; the reranker that the service serves."""
    return {"query": query, "documents": list(documents)}


def scores_of(answer: dict[str, Any], count: int, url: str) -> list[float]:
    """Each document's score, of an answer in which they come in another order. Raises IndexingFailed."""
    try:
        scores = {int(row["index"]): float(row["relevance_score"]) for row in answer["results"]}
        return [scores[at] for at in range(count)]
    except (KeyError, TypeError, ValueError) as error:
        raise IndexingFailed(f"{url}/rerank: the answer is no list of scores ({error!r})") from None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _row(value: str | list[float]) -> list[float]:
    if isinstance(value, str):
        data = base64.b64decode(value)
        return list(unpack(f"<{len(data) // 4}f", data))
    return [float(item) for item in value]
