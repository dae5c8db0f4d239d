"""ASGI middleware: one log line with the reason for each answer of 400 or more.

Clients drop Qdrant's message and show "Bad Request"; then this line is all that the user has. It stands outside
everything, so that refusals by any layer are in it. Written so that no path or name can forge a line.
"""

from __future__ import annotations

import logging

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
_LONGEST = 500


class AccessLog:
    """Reads the first part of an error's body; knows Qdrant's error shape."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start" and message["status"] >= 400:
                status = message["status"]
            elif message["type"] == "http.response.body" and status:
                _say(scope, status, message.get("body", b""))
                status = 0
            await send(message)

        await self.app(scope, receive, watch)


def _say(scope: Scope, status: int, body: bytes) -> None:
    try:
        reason = str(orjson.loads(body)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        reason = body[:_LONGEST].decode("utf-8", "replace")
    say(f"{scope['method']} {printable(scope['path'])}", status, reason)


def say(what: str, status: int, reason: str) -> None:
    """The line; `what` must be printable."""
    level = logging.ERROR if status >= 500 and status != 501 else logging.INFO if status == 404 else logging.WARNING
    log.log(level, "%s: %d %s", what, status, printable(reason))


def printable(text: str) -> str:
    """On one line, without control characters, at most 500 characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:_LONGEST])
