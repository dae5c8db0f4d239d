"""uvicorn's HTTP protocol with bounds that it has no settings for: of headers, and of connections after a refusal.
An answer's head leaves with its body, or with the body's first piece.

- A request's line and headers (and trailers) may have 64 KiB, else 431; they must be complete 30 s after their first
  byte, else 408. A connection that never sends a byte is closed as an idle one is.
- An answer that goes out before the request's body is in (a refusal) ends the connection 2 s later. Until then the
  body is read and thrown away, since closing on unread bytes would reset the connection under the answer.

A client that closes its writing side counts as gone, as in nginx and Go: it cannot be told from one that has left, and
work for those who left must stop. This module knows nothing of applications.
"""

from __future__ import annotations

import asyncio
import http
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD_BYTES = 64 * 1024
_HEAD_SECONDS = 30.0
_LINGER = 2.0
_HELD_BYTES = 4 * 1024  # a head; what is longer is no head
_JOINED_BYTES = 64 * 1024  # of a body: large answers are written in pieces of that size, and a copy of more costs time


class BoundedHttp(HttpToolsProtocol):
    """For `uvicorn.Config(http=BoundedHttp)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = 0  # bytes of the present request's line, headers and trailers
        self._since_progress = 0  # bytes fed since the parser last said that something was complete
        self._awaiting_head = True
        self._refused = False
        self._timer: asyncio.TimerHandle | None = None  # of the head that is awaited, or of the linger

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]
        self._start(self.timeout_keep_alive, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._since_progress += len(data)
        super().data_received(data)
        if max(self._head, self._since_progress) > _HEAD_BYTES:
            self._refuse(431, "the request's headers are over 64 KiB")
        elif self._awaiting_head and self._idle() and self._timer is None:
            # Bytes that begin no message (a line end) have just ended uvicorn's own watch over idle connections.
            self._start(_HEAD_SECONDS, self._late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head, self._awaiting_head = 0, True
        self._start(_HEAD_SECONDS, self._late)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head <= _HEAD_BYTES:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._since_progress, self._awaiting_head = 0, False
        self._head += len(self.url)
        self._stop()
        if self._head > _HEAD_BYTES:
            self._refuse(431, "the request's headers are over 64 KiB")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._since_progress = 0
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._since_progress, self._awaiting_head = 0, True
        self._stop()
        if not self._refused:
            self.cycle.more_body = False  # also of a request that has its answer
            super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._start(_LINGER, self.transport.close)

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _late(self) -> None:
        if self._idle():
            self._refuse(408, "the request's headers did not arrive in time")
        else:  # the start of a pipelined request: the answer before it goes first
            self._start(_HEAD_SECONDS, self._late)

    def _refuse(self, status: int, reason: str) -> None:
        """Answer and close; only close where another answer is under way."""
        self._refused = True
        self._stop()
        if self.transport.is_closing():
            return
        if self._idle():
            self.logger.warning("%s: %d", reason, status)
            head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\ncontent-type: text/plain\r\n"
            self.transport.write(f"{head}content-length: {len(reason)}\r\nconnection: close\r\n\r\n{reason}".encode())
            self._start(_LINGER, self.transport.close)
        else:
            self.transport.close()

    def _start(self, seconds: float, then: Any) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, then)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Joining:
    """A transport that keeps a short write back until the next one, or until the loop's next turn.

    uvicorn writes an answer's head and its body apart, and uvloop sends each at once. A process that dies between them
    leaves a proxy with a head that it has passed on, so that it cannot ask another process.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._held and len(data) <= _JOINED_BYTES:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        elif len(data) <= _HELD_BYTES:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._flush()
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data, self._held = self._held, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)
