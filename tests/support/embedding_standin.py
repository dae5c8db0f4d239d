"""A stand-in for the embedding service: POST /v1/embeddings and GET /v1/models with bag-of-words vectors.

Deterministic: a text's vector counts its words, hashed into `dimension` places, so equal words are near. Used
where a test is about the indexer and must say when the service fails; the end-to-end tests use the real one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


def bag_of_words(text: str, dimension: int) -> np.ndarray:
    vector = np.zeros(dimension, dtype="<f4")
    for word in re.findall(r"[A-Za-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ")):
        vector[zlib.crc32(word.lower().encode()) % dimension] += 1
    vector[0] += 1e-3
    return vector / np.linalg.norm(vector)


class EmbeddingStandIn:
    """`texts`: every text that was embedded. `answers`: statuses to give to the next requests instead of
    vectors, as (status, headers). `key`: demand this key. `delay`: seconds for each request. `reranker`: POST
    /v1/rerank gives its score of each document; None: none is served. `window`: tokens it says that it reads."""

    def __init__(
        self, dimension: int = 64, model: str = "bag-of-words", key: str | None = None, window: int = 0
    ) -> None:
        self.dimension, self.model, self.key, self.window = dimension, model, key, window
        self.texts: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests = self.running = self.most_running = self.largest = 0
        self.delay = 0.0
        self.reranker: Callable[[str, str], float] | None = None
        self.lock = threading.Lock()

    def __enter__(self) -> EmbeddingStandIn:
        self.start(0)
        return self

    def start(self, port: int) -> None:
        self.stopped = False
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that were killed
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Answer nobody any more: what is in work breaks off, as when a process is killed."""
        self.stopped = True
        self.server.shutdown()
        self.server.server_close()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        texts = body["input"]
        assert isinstance(texts, list)
        assert body["encoding_format"] == "base64"
        rows = [bag_of_words(text, self.dimension) for text in texts]
        data = [{"index": i, "embedding": base64.b64encode(row.tobytes()).decode()} for i, row in enumerate(rows)]
        with self.lock:
            self.texts.extend(texts)
            self.largest = max(self.largest, len(texts))
        return {"object": "list", "model": self.model, "data": data}

    def rerank(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self.reranker
        scores = [self.reranker(body["query"], text) for text in body["documents"]]
        order = sorted(range(len(scores)), key=lambda at: -scores[at])
        return {"results": [{"index": at, "relevance_score": scores[at]} for at in order]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                entry = {"id": standin.model} | ({"max_tokens": standin.window} if standin.window else {})
                self.answer(200, {"data": [entry]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with standin.lock:
                    standin.requests += 1
                    standin.running += 1
                    standin.most_running = max(standin.most_running, standin.running)
                    refusal = standin.answers.pop(0) if standin.answers else None
                try:
                    time.sleep(standin.delay)
                    if standin.stopped:
                        self.close_connection = True
                    elif standin.key and self.headers["authorization"] != f"Bearer {standin.key}":
                        self.answer(401, {"error": {"message": "wrong API key"}})
                    elif refusal:
                        self.answer(refusal[0], {"error": {"message": "not now"}}, refusal[1])
                    elif self.path.endswith("/rerank"):
                        if standin.reranker:
                            self.answer(200, standin.rerank(body))
                        else:
                            self.answer(404, {"error": {"message": "no reranker is served"}})
                    else:
                        self.answer(200, standin.embed(body))
                finally:
                    with standin.lock:
                        standin.running -= 1

            def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
