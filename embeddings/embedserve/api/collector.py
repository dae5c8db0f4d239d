"""The gc middleware: after the answer to an embedding request, collect the cycles that it left.

The original service did this over 380,000 objects, 200 ms on the event loop each time. After `collect_and_freeze` a
collection looks at a request's own objects only.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from embedserve.api.declare import traits
from embedserve.observability import GC_SECONDS


class GcMiddleware:
    """`frozen()`: whether `collect_and_freeze` has run (gc.get_freeze_count() counts every frozen object, 9 ms)."""

    def __init__(self, app: ASGIApp, *, frozen: Callable[[], bool]) -> None:
        self.app, self.frozen = app, frozen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            # Before the freeze (while a model loads) a collection would walk all the libraries for each 503.
            if scope["type"] == "http" and traits(scope).admitted and self.frozen():
                with GC_SECONDS.time():
                    gc.collect()
