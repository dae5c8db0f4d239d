"""A small OpenAI-compatible server inside the test: counts requests, keeps bodies, answers constant-time."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np


class FakeOpenAI:
    """`fail(n)` may give (status, body) for the n-th embedding request; `log` may be shared by several."""

    def __init__(self, name: str = "fake-model", key: str | None = None, log: list[str] | None = None) -> None:
        self.name, self.key, self.log = name, key, log if log is not None else []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.delay = 0.0
        self.fail: Any = lambda number: None
        self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if outer.key and self.headers["Authorization"] != f"Bearer {outer.key}":
                    self._send(401, {"error": {"message": "wrong API key"}})
                elif self.path == "/v1/models":
                    self._send(200, {"data": [{"id": outer.name, "precision": "bf16"}]})
                else:
                    self._send(404, {"error": {"message": "unknown route"}})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.log.append(outer.name)
                    outer.in_flight += 1
                    outer.most_in_flight = max(outer.most_in_flight, outer.in_flight)
                time.sleep(outer.delay)
                with outer._lock:
                    outer.in_flight -= 1
                self._send(*(outer.fail(number) or (200, outer.answer(body["input"]))))

            def _send(self, status: int, answer: Any) -> None:
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, texts: list[str]) -> dict[str, Any]:
        rows = [np.array([1, len(text), 0, 0], dtype="<f4") for text in texts]
        data = [{"index": i, "embedding": base64.b64encode(row.tobytes()).decode()} for i, row in enumerate(rows)]
        return {"data": data, "model": self.name, "usage": {"prompt_tokens": 10 * len(texts)}}

    def __enter__(self) -> FakeOpenAI:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
