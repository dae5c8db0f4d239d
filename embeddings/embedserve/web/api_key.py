"""Demands one API key, as `Authorization: Bearer <key>` or as `api-key: <key>`.

Compared in constant time, so that the answer's delay tells nothing of the key. Some routes (health) stay open.
Put it inside BrowserGuard and CORS, since a browser's preflight request carries no key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from embedserve.errors import InvalidApiKey
from embedserve.web.refusal import ErrorBody, refuse


class ApiKey:
    """Middleware. `is_open(scope)`: no key is needed. An empty key is a ValueError."""

    def __init__(self, app: ASGIApp, *, key: str, error_body: ErrorBody, is_open: Callable[[Scope], bool]) -> None:
        if not key:
            raise ValueError("the API key is empty; leave ApiKey out to demand none")
        self.app = app
        self.key = key.encode()
        self.error_body = error_body
        self.is_open = is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.is_open(scope) or self._knows_key(scope):
            await self.app(scope, receive, send)
            return
        error = InvalidApiKey(
            "the API key is missing or wrong; send it as 'Authorization: Bearer <key>' or 'api-key: <key>'"
        )
        await refuse(send, error, self.error_body, [(b"www-authenticate", b"Bearer")])

    def _knows_key(self, scope: Scope) -> bool:
        known = False
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                known |= hmac.compare_digest(value[7:].strip(), self.key)
            elif name == b"api-key":
                known |= hmac.compare_digest(value.strip(), self.key)
        return known
