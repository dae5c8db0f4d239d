"""One OpenAI endpoint before several models, each a deployment of its own: routed by `model` in the body.

The body is read once, within the limit of EMBEDDING_MAX_BODY_BYTES, and passed on as bytes; limits, errors and the
API key are the replica's own business. A request without a model, and every path without a body, goes to the default
model; `/v1/models`, `/health` and `/ready` ask all. A client that leaves cancels its request in the replica.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedserve.errors import BodyTooLarge, EmbedServeError, ModelNotFound, NotReady
from embedserve.scaling.replica import Answer, Call
from embedserve.settings import load_settings

_LISTS = ("/v1/models", "/models")
_ALL = ("/health", "/ready")
_KEEP_OUT = (b"content-length", b"transfer-encoding", b"connection", b"x-request-id")  # the proxy writes these


class Router:
    """The ingress deployment. `names`: the models, the default one first; `model_0` ..: their deployments' handles."""

    def __init__(self, names: list[str], **handles: Any) -> None:
        self._app = RoutedModels(names, [handles[f"model_{index}"] for index in range(len(names))])

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._app


class RoutedModels:
    """The ASGI application of the router."""

    def __init__(self, names: list[str], handles: list[Any]) -> None:
        self.names, self.handles = names, handles
        self.owner = {name.lower(): index for index, name in enumerate(names)}
        self.asked: set[int] = set()
        self.max_body_bytes = load_settings().max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        try:
            found = await self._answer(scope, receive)
        except EmbedServeError as error:
            found = Answer(error.status, _retry(error), orjson.dumps(error.body()))
        except _ClientLeft:
            return
        headers = [pair for pair in found.headers if pair[0].lower() not in _KEEP_OUT]
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(found.body)).encode()))
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        body = await self._body(scope, receive)
        call = Call(scope["method"], scope["path"], scope.get("query_string", b""), list(scope["headers"]), body)
        if scope["path"] in _LISTS or scope["path"] in _ALL:
            answers = await asyncio.gather(*(self._ask(handle, call) for handle in self.handles))
            worst = max(answers, key=lambda answer: answer.status)
            if worst.status != 200 or scope["path"] in _ALL:
                return worst
            return _merged(answers)
        index = await self._index(_model_of(body))
        return await _unless_left(self._ask(self.handles[index], call), receive)

    async def _index(self, name: str | None) -> int:
        """Which deployment has the model of this name. ModelNotFound."""
        if not name:
            return 0
        for index in range(len(self.handles)):  # names that only the replica knows: aliases of a folder's model
            if name.lower() in self.owner:
                break
            if index not in self.asked:
                for alias in await self.handles[index].names.remote():
                    self.owner.setdefault(alias.lower(), index)
                self.asked.add(index)
        if name.lower() not in self.owner:
            served = ", ".join(self.names)
            raise ModelNotFound(f"model '{name[:200]}' is not served here; served: {served}.", param="model")
        return self.owner[name.lower()]

    async def _ask(self, handle: Any, call: Call) -> Answer:
        response = handle.handle.remote(call)
        try:
            answer: Answer = await response
            return answer
        except asyncio.CancelledError:
            response.cancel()
            raise
        except Exception as error:
            raise NotReady(f"no replica of the model could answer ({type(error).__name__}); try again") from error

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self.max_body_bytes:
                raise BodyTooLarge(
                    f"the body is over {self.max_body_bytes} bytes (EMBEDDING_MAX_BODY_BYTES); send fewer texts at once"
                )
            if not message.get("more_body", False):
                return b"".join(parts)


class _ClientLeft(Exception):
    """Nobody to answer."""


def _model_of(body: bytes) -> str | None:
    """The body's `model`, where it has one; a body that is no JSON is refused by the default model's replica."""
    with contextlib.suppress(orjson.JSONDecodeError):
        parsed = orjson.loads(body) if body else None
        if isinstance(parsed, dict) and isinstance(parsed.get("model"), str):
            return str(parsed["model"])
    return None


def _merged(answers: list[Answer]) -> Answer:
    """One list of all models; only the first deployment's default is the default."""
    data = []
    for index, answer in enumerate(answers):
        for model in orjson.loads(answer.body)["data"]:
            data.append({**model, "default": bool(model.get("default")) and index == 0})
    return Answer(200, answers[0].headers, orjson.dumps({"object": "list", "data": data}))


def _retry(error: EmbedServeError) -> list[tuple[bytes, bytes]]:
    return [] if error.retry_after is None else [(b"retry-after", str(error.retry_after).encode())]


async def _unless_left(work: Any, receive: Receive) -> Answer:
    task, watch = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            answer: Answer = task.result()
            return answer
        raise _ClientLeft
    finally:
        for one in (task, watch):
            one.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lifespan(receive: Receive, send: Any) -> None:
    while True:
        message: Message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
