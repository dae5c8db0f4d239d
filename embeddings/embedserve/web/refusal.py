"""The answer of a middleware that does not let a request through.

The two servers have error shapes of their own, so the body comes from a function that the server gives.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import Send

from embedserve.errors import RequestError

ErrorBody = Callable[[int, RequestError], bytes]
"""(HTTP status, error) -> JSON body."""


async def refuse(
    send: Send, error: RequestError, error_body: ErrorBody, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send `error` as a complete JSON response. The request's body is left unread."""
    body = error_body(error.status, error)
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})
