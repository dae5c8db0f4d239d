"""Errors in the shape of the API that was called: every error is made in OpenAI's shape and translated on its way out.

    OpenAI, Voyage, Jina      {"error": {"message", "type", "param", "code"}, "detail": "..."}
    Ollama                    {"error": "..."}
    Cohere                    {"message": "..."}
    rerank (Voyage, Jina)     {"message": "...", "detail": "..."}
    TEI                       {"error": "...", "error_type": "..."}

So nothing that refuses has to know whose client it refuses. Voyage's own client is known by its User-Agent, since it
calls OpenAI's path and some of its versions crash on an `error` object.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedserve.api.declare import traits

Shape = Callable[[int, str], dict[str, Any]]  # (status, message) -> body


def ollama(_status: int, message: str) -> dict[str, Any]:
    return {"error": message}


def cohere(_status: int, message: str) -> dict[str, Any]:
    return {"message": message}


def rerank(_status: int, message: str) -> dict[str, Any]:
    return {"message": message, "detail": message}


def tei(status: int, message: str) -> dict[str, Any]:
    kinds = {413: "validation", 429: "overloaded", 503: "unhealthy"}
    return {"error": message, "error_type": kinds.get(status, "backend" if status >= 500 else "validation")}


SHAPES: dict[str, Shape] = {"ollama": ollama, "cohere": cohere, "rerank": rerank, "tei": tei}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


_STRING, _OR_NULL = {"type": "string"}, {"type": ["string", "null"]}
# Each shape, and OpenAI's, as the published document describes it.
SCHEMAS: dict[str, dict[str, Any]] = {
    "openai": _object(
        error=_object(message=_STRING, type=_STRING, param=_OR_NULL, code=_OR_NULL),
        detail=_STRING,
    ),
    "ollama": _object(error=_STRING),
    "cohere": _object(message=_STRING),
    "rerank": _object(message=_STRING, detail=_STRING),
    "tei": _object(error=_STRING, error_type=_STRING),
}


class ErrorShapes:
    """Middleware, outside RequestContext, which reads the reason for the log from OpenAI's shape."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send if scope["type"] != "http" else _Translator(send, scope))


class _Translator:
    """The `send` callable: holds an error's start until its body is complete."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self.send, self.scope = send, scope
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400 and self._shape() is not None:
            self.start = message
        elif self.start is None:
            await self.send(message)
        else:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._translated(self.start)

    def _shape(self) -> Shape | None:
        # Asked late: what the route declares is in the scope only once it has been found.
        shape = traits(self.scope).errors
        is_voyage = shape == "openai" and any(
            name == b"user-agent" and value.startswith(b"Voyage/") for name, value in self.scope["headers"]
        )
        return rerank if is_voyage else SHAPES.get(shape)

    async def _translated(self, start: Message) -> None:
        body = self.body
        with contextlib.suppress(ValueError, TypeError, KeyError):  # not ours: as it is
            shape = self._shape()
            assert shape is not None
            body = orjson.dumps(shape(start["status"], orjson.loads(body)["error"]["message"]))
        kept = [(name, value) for name, value in start.get("headers", []) if name.lower() != b"content-length"]
        await self.send({**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]})
        await self.send({"type": "http.response.body", "body": body})
