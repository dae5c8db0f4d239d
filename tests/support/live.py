"""A real server for tests: the real app on uvicorn in a thread of this process, on a free port, over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from embedserve.api.app import create_app
from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.models import prompts
from embedserve.models.spec import ModelSpec
from embedserve.serving.loading import Found, Loaded
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings
from embedserve.web.bounded_http import BoundedHttp
from embedserve.web.server import listen

FAKE_SPEC = ModelSpec(
    id="fake",
    aliases=("fake-alias",),
    architecture="bert",
    dimension=8,
    max_tokens=512,
    matryoshka=(8, 4),
    prompts={"query": "query: ", "document": ""},
)

FAKE_RERANKER = ModelSpec(id="fake-reranker", architecture="bert", dimension=1, max_tokens=512, task="score")


class LiveServer:
    """`url` without /v1, `runtime`, and `backend` when it is the fake one."""

    def __init__(self, runtime: Runtime, backend: FakeBackend | None = None) -> None:
        self.runtime, self.backend = runtime, backend
        self._listener = listen(runtime.settings.host, runtime.settings.port)
        config = uvicorn.Config(create_app(runtime), log_config=None, access_log=False, http=BoundedHttp)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.url = ""

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    def __enter__(self) -> LiveServer:
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline, "the test server did not start"
            time.sleep(0.01)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"

    def post(self, json: Any, path: str = "/v1/embeddings", **kwargs: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=json, timeout=60, **kwargs)

    def wait_for(self, condition: Any, seconds: float = 10) -> None:
        """Poll until `condition()` is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.01)


@contextlib.contextmanager
def fake_server(streams: int = 1, **settings: Any) -> Iterator[LiveServer]:
    """A live server on the fake backend; the cache is off unless asked for. With a `rerank_model` it has one, which
    scores by a hash of the pair."""
    backend = FakeBackend(streams=streams)

    def load(name: str, settings: Settings) -> Loaded:
        if name == settings.rerank_model:
            return Loaded(FAKE_RERANKER, FakeBackend(1), FakeTokenizer(), "0", "folder")
        spec = prompts.with_default(FAKE_SPEC, settings.default_prompt)
        return Loaded(spec, backend, FakeTokenizer(), "0", "folder")

    def find(name: str, settings: Settings) -> Found:
        found = load(name, settings)
        return Found(found.spec, found.revision, found.origin, found.notice, bytes_needed=0)

    runtime = Runtime(Settings(**{"cache": "off", "port": 0, **settings}), load=load, find=find)
    with LiveServer(runtime, backend) as server:
        server.wait_for(lambda: not runtime.loading)
        backend.batches.clear()  # the warm-up's
        yield server


@contextlib.contextmanager
def real_server(home: Path, model: str = "all-MiniLM-L6-v2", **settings: Any) -> Iterator[LiveServer]:
    """A live server on a real model; artefacts that it makes go to `home`."""
    runtime = Runtime(Settings(**{"model": model, "home": home, "cache": "off", "port": 0, **settings}))
    with LiveServer(runtime) as server:
        server.wait_for(lambda: not runtime.loading, 120)
        assert runtime.failure is None, runtime.failure
        yield server
