"""One replica: one model process that runs the ASGI application of `embedserve serve` inside Ray Serve.

What Ray expects, and how it is met:
- a load that fails raises in the constructor, so the deployment is UNHEALTHY with our message in `serve status`
- `check_health` raises when the model cannot answer, so Ray replaces the replica
- draining is Ray's: it sends nothing new, waits for what is in work, then ends the lifespan
- `record_autoscaling_stats` gives the texts in the backlog to the autoscaler
Requests come as ASGI (this deployment is the ingress) or, behind the router, as `handle`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from starlette.types import ASGIApp, Message

from embedserve.api.app import create_app
from embedserve.errors import EmbedServeError
from embedserve.scaling.autoscaling import QUEUED_TEXTS
from embedserve.scaling.metrics import Bridge
from embedserve.serving.runtime import Runtime
from embedserve.serving.status import health
from embedserve.settings import load_settings

log = logging.getLogger("ray.serve.embedserve")


class Call(NamedTuple):
    """One HTTP request, its body complete."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Answer(NamedTuple):
    """One HTTP answer, complete."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Replica:
    """Loads one model in its constructor; serves it until Ray takes the replica away."""

    async def __init__(self, model: str, threads: int, memory: str) -> None:  # type: ignore[misc]
        settings = load_settings(model=model, threads=threads, memory_limit=memory or None)
        self.runtime = Runtime(settings)
        await self.runtime.load()
        if self.runtime.failure is not None:
            await self.runtime.close()
            raise RuntimeError(f"embedserve: {model}: {self.runtime.failure.message}")
        self.metrics = Bridge()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return create_app(self.runtime)

    async def check_health(self) -> None:
        """Raises when this replica cannot answer; Ray then starts another in its place."""
        if problem := self.runtime.problem:
            raise RuntimeError(f"embedserve: {problem}")

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Texts that wait here, for `BacklogPolicy`."""
        self.metrics.publish()
        return {QUEUED_TEXTS: float(health(self.runtime)["texts_waiting"])}


class RoutedReplica(Replica):
    """A replica behind the router: requests come as complete `Call`s, not from Ray's proxy."""

    async def __init__(self, model: str, threads: int, memory: str) -> None:  # type: ignore[misc]
        await super().__init__(model, threads, memory)
        self._app = create_app(self.runtime)
        self._lifespan = Lifespan(self._app)
        await self._lifespan.start()

    async def names(self) -> list[str]:
        """Every name that this replica's model answers to, its id first."""
        return [name for entry in self.runtime.entries for name in entry.model.names]

    async def handle(self, call: Call) -> Answer:
        """Answer a request that the router passes on. Cancelling it drops the request's texts."""
        return await answer(self._app, call)

    async def __del__(self) -> None:
        if hasattr(self, "_lifespan"):
            await self._lifespan.stop()


class Lifespan:
    """Runs an ASGI application's start and end where no server does it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._done: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> None:
        """Returns once the application has started; RuntimeError when it could not."""
        self._task: asyncio.Task[None] = asyncio.create_task(
            self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._messages.get, self._done.put)  # type: ignore[arg-type]
        )
        await self._tell("lifespan.startup")

    async def stop(self) -> None:
        await self._tell("lifespan.shutdown")
        await self._task

    async def _tell(self, kind: str) -> None:
        await self._messages.put({"type": kind})
        answer = await self._done.get()
        if answer["type"].endswith(".failed"):
            raise RuntimeError(f"{kind}: {answer.get('message', 'failed')}")


async def answer(app: ASGIApp, call: Call) -> Answer:
    """Run one complete request through an ASGI application."""
    status, headers, parts = 500, [], []
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # the router cancels us when the client leaves
        sent = True
        return {"type": "http.request", "body": call.body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], [(bytes(k), bytes(v)) for k, v in message.get("headers", [])]
        else:
            parts.append(bytes(message.get("body", b"")))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode(),
        "query_string": call.query,
        "root_path": "",
        "headers": call.headers,
        "client": None,
        "server": None,
    }
    try:
        await app(scope, receive, send)
    except EmbedServeError as error:  # nothing of ours raises through its own middleware; a bug must not hang a caller
        log.exception("%s %s failed", call.method, call.path)
        return Answer(error.status, [], str(error).encode())
    return Answer(status, headers, b"".join(parts))
