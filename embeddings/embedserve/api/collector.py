"""The gc middleware: after the answer to an embedding request, collect the cycles that it left.

The original service did this over 380,000 objects, 200 ms on the event loop each time, before the answer was sent.
After `collect_and_freeze` a collection looks at the requests' own objects only: 0.2 ms, a third of what a search costs
on the event loop. So small requests share one collection, `_SHARED_AFTER` the first of them. How much of them it looks
at, and for how long all share one where they cost more, engine/garbage.py says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from embedserve.api.declare import traits
from embedserve.engine.garbage import COLLECTIONS
from embedserve.observability import GC_SECONDS

_SHARED_AFTER = 0.1  # seconds


class GcMiddleware:
    """`frozen()`: whether `collect_and_freeze` has run (gc.get_freeze_count() counts every frozen object, 9 ms)."""

    def __init__(self, app: ASGIApp, *, frozen: Callable[[], bool]) -> None:
        self.app, self.frozen = app, frozen
        self._shared: asyncio.TimerHandle | None = None  # a collection that is due

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            # Before the freeze (while a model loads) a collection would walk all the libraries for each 503.
            if scope["type"] == "http" and traits(scope).admitted and self.frozen():
                self._plan(small=scope.get("state", {}).get("small", False))

    def _plan(self, *, small: bool) -> None:
        loop = asyncio.get_running_loop()
        due = COLLECTIONS.due_in()
        if not small and not due:
            loop.call_soon(self._collect)  # the next turn of the loop: the answer's bytes are written in this one
        elif self._shared is None:
            self._shared = loop.call_later(max(due, _SHARED_AFTER if small else 0), self._collect)

    def _collect(self) -> None:
        if self._shared is not None:
            self._shared.cancel()
            self._shared = None
        with GC_SECONDS.time():
            COLLECTIONS.collect()
