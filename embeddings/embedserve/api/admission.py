"""Admission middleware, on the routes that declare it: waiting room, slot, body, disconnects, the reply's deadline.

    headers -> waiting room -> (first 64 KiB of the body) -> slot -> rest of the body -> app -> slot back -> reply

Nothing is parsed before a slot is held. Up to 64 KiB are *received* before it: a half-sent body then never holds a
slot, and a client that leaves while it waits is seen, which a paused socket would not tell. So what waits is bounded by
waiting room x 64 KiB. The slot is given back before the reply is written, unless unread replies pile up.

While the model loads, requests wait for it in the room (`ready`). When the server's drain is over it cancels what is
left: a request without an answer yet then gets 503 with Retry-After.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embedserve import observability as obs
from embedserve.api.declare import traits
from embedserve.engine.small import is_small_body
from embedserve.errors import BodyTooLarge, BodyTooSlow, EmbedServeError, InvalidRequest, NotReady, OutOfMemory
from embedserve.serving.admission import HELD, Admission, Slot

_PRE_READ = 64 * 1024
_GRACE = 5.0  # seconds before the least rate counts
_LEAST_RATE = 16 * 1024  # bytes a second over the whole body
_CHUNK = 64 * 1024  # of a reply: what one write hands to the transport
_UNREAD_REPLIES = 64 * 1024 * 1024
_WATCH_AFTER = 0.05  # seconds

Refuse = Callable[[Send, EmbedServeError], Awaitable[None]]


class ClientLeft(Exception):
    """The client closed the connection: nobody to answer."""


@dataclass
class AdmissionOptions:
    max_body_bytes: int
    body_timeout: float
    write_timeout: float


class AdmissionMiddleware:
    """For routes that declare `admitted`. `refuse(send, error)` writes an error answer; `ready()` returns, or raises
    NotReady, once it is known whether there is a model; `draining()`: the server was told to stop."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        admission: Admission,
        options: AdmissionOptions,
        refuse: Refuse,
        ready: Callable[[], Awaitable[None]],
        draining: Callable[[], bool],
    ) -> None:
        self.app, self.admission, self.options, self.refuse = app, admission, options, refuse
        self.ready, self.draining = ready, draining
        self.unread = 0  # bytes of replies being written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not traits(scope).admitted:
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._admit(scope, receive, watched)
        except ClientLeft:
            pass
        except EmbedServeError as error:
            await self.refuse(send, error)
        except MemoryError:
            if begun:
                raise
            await self.refuse(send, OutOfMemory("not enough memory for this request: send fewer texts at once"))
        except asyncio.CancelledError:
            if begun or not self.draining():
                raise
            await self.refuse(send, NotReady("the server is shutting down and this request did not end in time"))

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(receive, self.options, declared=_content_length(scope))
        small = is_small_body(body.declared)
        self.admission.enter(small=small)
        try:
            await body.read(until=_PRE_READ)
            async with _UnlessLeft(body):
                await self.ready()
                waited = await self.admission.acquire(small=small)
        finally:
            self.admission.leave(small=small)
        slot = Slot(self.admission, small)
        try:
            obs.QUEUE_SECONDS.observe(waited)
            # For the request's log line and the collector.
            scope.setdefault("state", {}).update(waited=waited, small=small)
            await body.read(until=None)
            slot.size = body.size
            HELD.set(slot)
            reply = _Reply(self, send, slot)
            async with _UnlessLeft(body):
                await self.app(scope, body.replay, reply)
            if self.unread < _UNREAD_REPLIES:
                slot.give_back()
            await reply.write()
        finally:
            slot.give_back()


@dataclass
class _Body:
    """A request's body, received piece by piece under a deadline and a least rate."""

    receive: Receive
    options: AdmissionOptions
    declared: int | None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    complete: bool = False
    spent: float = 0.0  # seconds of waiting for the client

    def __post_init__(self) -> None:
        if self.declared is not None and self.declared > self.options.max_body_bytes:
            raise self._too_large()

    async def read(self, until: int | None) -> None:
        """Receive up to `until` bytes (None: all). BodyTooSlow, BodyTooLarge, ClientLeft."""
        while not self.complete and (until is None or self.size < until):
            start = time.monotonic()
            try:
                async with asyncio.timeout(self._allowance()):
                    message = await self.receive()
            except TimeoutError:
                seconds = self.spent + time.monotonic() - start
                raise BodyTooSlow(f"the body did not arrive in time: {self.size} bytes in {seconds:.0f} s") from None
            self.spent += time.monotonic() - start
            if message["type"] == "http.disconnect":
                raise ClientLeft
            part = message.get("body", b"")
            self.size += len(part)
            if self.size > self.options.max_body_bytes:
                raise self._too_large()
            self.parts.append(part)
            self.complete = not message.get("more_body", False)

    async def left(self) -> None:
        """Returns when the client leaves. Call it once the body is complete; before that it never returns."""
        if not self.complete:
            await asyncio.Event().wait()
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def replay(self) -> Message:
        """`receive` for the app: the whole body once, then the truth."""
        if self.parts:
            body, self.parts = b"".join(self.parts), []
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.Event().wait()  # disconnects are watched outside
        raise AssertionError

    def _allowance(self) -> float:
        """Seconds that the next piece may take: the deadline, and after a grace the least rate."""
        by_rate = _GRACE + self.size / _LEAST_RATE
        return max(min(by_rate, self.options.body_timeout) - self.spent, 0.001)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is over {self.options.max_body_bytes} bytes (EMBEDDING_MAX_BODY_BYTES); send fewer texts at once"
        )


class _Reply:
    """Collects the app's answer, then writes it in pieces under a deadline, the slot given back before."""

    def __init__(self, middleware: AdmissionMiddleware, send: Send, slot: Slot) -> None:
        self.middleware, self.send, self.slot = middleware, send, slot
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif not self.body:
            self.body = message.get("body", b"")
        else:
            self.body += message.get("body", b"")

    async def write(self) -> None:
        """Write the answer. A client that reads nothing for `write_timeout` loses its connection."""
        if self.start is None:
            return
        size = len(self.body)
        self.middleware.unread += size
        try:
            await self._send(self.start)
            view = memoryview(self.body)
            for at in range(0, size, _CHUNK):
                more = at + _CHUNK < size
                await self._send(
                    {"type": "http.response.body", "body": bytes(view[at : at + _CHUNK]), "more_body": more}
                )
            if not size:
                await self._send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            raise ClientLeft from None
        finally:
            self.middleware.unread -= size

    async def _send(self, message: Message) -> None:
        async with asyncio.timeout(self.middleware.options.write_timeout):
            await self.send(message)


class _UnlessLeft:
    """`async with`: ends the block with ClientLeft when the client leaves meanwhile.

    Once the body is complete, receive() returns only then. That wait is a task, begun after `_WATCH_AFTER`: most
    requests are answered before, and a client that has left by then is seen at once.
    """

    def __init__(self, body: _Body) -> None:
        self.body = body
        self._watch: asyncio.Task[None] | None = None
        self._left = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER, self._begin)

    async def __aexit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        # As asyncio.timeout: a cancellation from outside, at the same moment, stays one.
        if self._left and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientLeft from None

    def _begin(self) -> None:
        self._watch = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        await self.body.left()
        self._left = True
        self._task.cancel()


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            try:
                return int(value)
            except ValueError:
                raise InvalidRequest("Content-Length is not a number") from None
    return None
