"""The outermost middleware: request id, time, metrics, a log line with the reason of every 4xx and 5xx.

The reason is read back from the error body that was sent, so that no place that refuses has to remember to log. An
exception that nobody handled becomes a 500 in our shape. Its message is not logged: it might hold a user's text.
"""

from __future__ import annotations

import logging
import re
import time
import traceback
import uuid

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedserve import observability as obs
from embedserve.api.declare import RouteTable, note
from embedserve.errors import EmbedServeError
from embedserve.recent import RECENT

log = logging.getLogger("embedserve.api")

_SANE_ID = re.compile(rb"^[A-Za-z0-9._:-]{1,64}$")
_REASON_BYTES = 8192


class RequestContext:
    """Also tells the middleware inside what the route declares."""

    def __init__(self, app: ASGIApp, routes: RouteTable) -> None:
        self.app, self.routes = app, routes
        self.not_ready = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = self.routes.find(scope["method"], scope["path"])
        note(scope, route)
        identity = _request_id(scope)
        token = obs.request_id.set(identity)
        answer = _Answer(send, identity)
        start = time.monotonic()
        try:
            await self.app(scope, receive, answer)
        except Exception as error:
            trace = obs.Lines("".join(traceback.format_tb(error.__traceback__)))
            log.error("unhandled %s\n%s", type(error).__name__, trace)
            if answer.status is None:
                internal = EmbedServeError("internal error; the server's log has the details under this request id")
                await send_json(answer, 500, orjson.dumps(internal.body()))
        finally:
            seconds = time.monotonic() - start
            obs.REQUESTS.labels(route.label, str(answer.status or 499)).inc()
            if route.traits.admitted:
                waited = (answer.started or time.monotonic()) - start
                obs.REQUEST_SECONDS.observe(waited)
                if answer.status is not None and answer.status < 400:
                    RECENT.answered(_user_agent(scope), waited)
            if answer.status is None:
                obs.DISCONNECTS.inc()
                log.info("%s %s: the client left after %.2f s", scope["method"], scope["path"], seconds)
            elif answer.status >= 400:
                self._log_refusal(scope, answer.status, answer.reason())
            obs.request_id.reset(token)

    def _log_refusal(self, scope: Scope, status: int, reason: str) -> None:
        level = logging.ERROR if status >= 500 else logging.WARNING
        if scope["path"] == "/ready":  # asked several times a second: say each reason once
            if reason == self.not_ready:
                return
            self.not_ready, level = reason, logging.INFO
        else:
            RECENT.refused(f"{scope['method']} {scope['path']}", status, reason, obs.request_id.get())
        log.log(level, "%s %s -> %d: %s", scope["method"], scope["path"], status, reason)


class _Answer:
    """The `send` callable: notes the status and the start of an error's body, adds the request id header."""

    def __init__(self, send: Send, identity: str) -> None:
        self.send, self.identity = send, identity
        self.status: int | None = None
        self.started: float | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = time.monotonic()
            headers = [*message.get("headers", []), (b"x-request-id", self.identity.encode())]
            message = {**message, "headers": headers}
        elif self.status is not None and self.status >= 400 and len(self.body) < _REASON_BYTES:
            self.body += message.get("body", b"")[:_REASON_BYTES]
        await self.send(message)

    def reason(self) -> str:
        try:
            return str(orjson.loads(self.body)["error"]["message"])
        except (ValueError, TypeError, KeyError):
            return self.body[:200].decode(errors="replace")


def _user_agent(scope: Scope) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.match(value):
            return str(value.decode())
    return uuid.uuid4().hex[:16]


async def send_json(send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """One complete JSON answer."""
    length = str(len(body)).encode()
    start = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
