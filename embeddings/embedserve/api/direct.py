"""From an admitted request straight to its endpoint: what FastAPI would do on the way costs a third of the request.

For endpoints of the form `async (request) -> Response` under a path without parameters, which take nothing that FastAPI
resolves. Every other request goes through FastAPI. It knows no path: `declare.RouteTable` has found the endpoint.
Errors are the caller's: EmbedServeError as anything else that the endpoint raises.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from embedserve.api.declare import declared


class Direct:
    """ASGI application around a FastAPI application."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = declared(scope) if scope["type"] == "http" else None
        if found is None or found.endpoint is None or not found.traits.admitted:
            await self.app(scope, receive, send)
            return
        scope["app"] = self.app
        response = await found.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)
