"""One path a route: clients' other spellings are rewritten before anything looks at the path.

- doubled and trailing slashes, from base URLs that end in one and paths that begin with one;
- `/embeddings`, `/models`, `/openai/v1/...`, `/v1/v1/...`, `/v1/api/...`, as base URLs without /v1 or with one more
  than the client expects give (OpenAI's and Ollama's clients want another base URL each);
- HEAD, answered as GET without its body.

So admission, keys, metrics and routes know each path once. Knows nothing of what the routes do.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SLASHES = re.compile("/{2,}")
_SAME = {"/embeddings": "/v1/embeddings", "/models": "/v1/models", "/openai/models": "/v1/models"}
_TWICE = re.compile("^/v1(?=/(v1|v2|api)/)")


def canonical(path: str) -> str:
    """The path that the routes know."""
    path = _SLASHES.sub("/", path)
    path = path.rstrip("/") or "/"
    if path.startswith("/openai/v1/"):
        path = path.removeprefix("/openai")
    elif path.startswith("/models/"):
        path = "/v1" + path
    path = _TWICE.sub("", path)
    return _SAME.get(path, path)


class CanonicalPath:
    """Middleware, the outermost."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = canonical(scope["path"])
            if path != scope["path"]:
                scope = {**scope, "path": path, "raw_path": path.encode()}
            if scope["method"] == "HEAD":
                scope, send = {**scope, "method": "GET"}, _without_body(send)
        await self.app(scope, receive, send)


def _without_body(send: Send) -> Send:
    async def bare(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return bare
