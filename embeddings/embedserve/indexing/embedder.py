"""Embeds texts over HTTP, as any client of an OpenAI-compatible server does.

One request carries up to BATCH texts and asks for base64. A server that says "later" (429, 503) is asked again
when it said to, for up to PATIENCE seconds; a broken connection or another 5xx is tried ATTEMPTS times. Every
answer is checked: as many vectors as texts, the right dimension, finite numbers. It knows no chunks and no Qdrant.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from embedserve import __version__
from embedserve.errors import IndexingFailed
from embedserve.indexing.rest import rerank_body, scores_of, service_refusal, service_unreachable
from embedserve.indexing.workspace import is_this_machine

BATCH = 60  # texts in one request, as the clients send
ATTEMPTS = 4
PATIENCE = 300.0

Vectors = npt.NDArray[np.float32]


@dataclass
class Embedder:
    """`url`: the base URL, with or without /v1. `model`: None takes the server's first. `waiting` is told why
    a request is being tried again. `model`, `dimension` and `window` (tokens that the model reads of a text; 0 where
    the server does not say) are right after `probe()`."""

    url: str
    api_key: str | None = None
    model: str | None = None
    waiting: Callable[[str], None] = lambda _reason: None
    patience: float = PATIENCE
    dimension: int = 0
    window: int = 0
    _client: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        timeout = httpx.Timeout(300.0, connect=5.0)
        headers = {"Authorization": f"Bearer {self.api_key or 'local'}", "User-Agent": f"embedserve/{__version__}"}
        limits = httpx.Limits(max_connections=32)
        self._client = httpx.AsyncClient(
            timeout=timeout, headers=headers, limits=limits, trust_env=not is_this_machine(self.url)
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def probe(self) -> None:
        """Find out the model, its window and its dimension from one real embedding; raises IndexingFailed."""
        models = await self._models(must_answer=self.model is None)
        if self.model is None:
            if not models:
                raise IndexingFailed(f"{self.url}/models lists no model; give one with --model")
            self.model = str(models[0].get("id"))
        answer = await self._post(["test"])
        self.dimension = self._vectors(answer, 1).shape[1]
        self.model = str(answer.get("model") or self.model)
        entry = next((entry for entry in models if entry.get("id") == self.model), {})
        window = entry.get("max_tokens") or entry.get("max_model_len")  # ours, vLLM's
        self.window = window if isinstance(window, int) and window > 0 else 0

    async def told_window(self) -> int | None:
        """The model's window by one quick question, 0 where the service does not say it; None: it does not answer."""
        try:
            response = await self._client.get(self.url + "/models", timeout=2.0)
            models = _parsed(response, self.url)["data"] if response.is_success else []
            entry: dict[str, Any] = next((e for e in models if self.model in (None, e.get("id"))), {})
        except (httpx.HTTPError, IndexingFailed, KeyError, TypeError, AttributeError):
            return None
        window = entry.get("max_tokens") or entry.get("max_model_len")
        return window if isinstance(window, int) else 0

    async def _models(self, must_answer: bool) -> list[dict[str, Any]]:
        try:
            found = (await self._send("GET", "/models", None)).get("data")
        except IndexingFailed:
            if must_answer:
                raise
            return []  # a server with embeddings only
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, shape (len(texts), dimension). Raises IndexingFailed."""
        answer = await self._post(texts)
        vectors = self._vectors(answer, len(texts))
        if self.dimension and vectors.shape[1] != self.dimension:
            raise IndexingFailed(
                f"the service answered {vectors.shape[1]} dimensions where it gave {self.dimension} before: "
                "it was restarted with another model; run the same command again"
            )
        if self.dimension and answer.get("model") not in (None, self.model):
            raise IndexingFailed(
                f"the service answered with the model {answer['model']} where it was {self.model} before: "
                "it was restarted with another model; run the same command again"
            )
        return vectors

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """A cross-encoder's score of each document, higher is better. Raises IndexingFailed: none is served."""
        answer = await self._send("POST", "/rerank", rerank_body(query, documents))
        return scores_of(answer, len(documents), self.url)

    async def _post(self, texts: Sequence[str]) -> dict[str, Any]:
        body = {"input": list(texts), "model": self.model, "encoding_format": "base64"}
        return await self._send("POST", "/embeddings", body)

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        deadline, attempt = time.monotonic() + self.patience, 0
        while True:
            attempt += 1
            try:
                response = await self._client.request(method, self.url + path, json=body)
            except httpx.HTTPError as error:
                failure, pause, final = service_unreachable(self.url, error), 0.5 * 2**attempt, attempt >= ATTEMPTS
            else:
                if response.is_success:
                    return _parsed(response, self.url + path)
                failure = service_refusal(response.status_code, response.content, self.url + path)
                pause, final = _pause(response, attempt)
            if final or time.monotonic() + pause > deadline:
                raise IndexingFailed(failure)
            self.waiting(failure)
            await asyncio.sleep(pause)

    def _vectors(self, answer: dict[str, Any], count: int) -> Vectors:
        try:
            rows = [_row(item["embedding"]) for item in answer["data"]]
            vectors = np.stack(rows)
        except (KeyError, TypeError, ValueError) as error:
            raise IndexingFailed(f"{self.url}/embeddings: the answer is no list of embeddings ({error})") from None
        if len(vectors) != count:
            raise IndexingFailed(f"{self.url}/embeddings: {len(vectors)} embeddings for {count} texts")
        if not np.isfinite(vectors).all():
            raise IndexingFailed(f"{self.url}/embeddings: the model gives vectors with NaN; see the service's log")
        return vectors


def _row(value: str | list[float]) -> npt.NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype="<f4")
    return np.asarray(value, dtype=np.float32)


def _pause(response: httpx.Response, attempt: int) -> tuple[float, bool]:
    """Seconds until the next attempt, and whether there is none."""
    status = response.status_code
    if status in (429, 503):
        try:
            return max(0.1, min(float(response.headers["retry-after"]), 60.0)), False
        except (KeyError, ValueError):  # none, or a date
            return min(0.5 * 2**attempt, 30.0), False
    return 0.5 * 2**attempt, status < 500 or attempt >= ATTEMPTS


def _parsed(response: httpx.Response, url: str) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise IndexingFailed(f"{url} answers, but not as an OpenAI-compatible server: is --embeddings-url right?")
    return answer
