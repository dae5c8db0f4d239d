"""How long the event loop was blocked while requests were in flight, measured from inside.

While something runs on the loop for long, or holds the interpreter in another thread, nobody else is served. A timer
that should go off every `STEP` is late by that time, less what was left of its step: a block is measured up to one
step too short. There is no timer while no request is in flight, so an idle server does not wake for it.

Where the kernel says for how long the loop's thread could have run but had no core (Linux's schedstat), that is taken
off: a busy machine is no fault of the program's.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time

from starlette.types import ASGIApp, Receive, Scope, Send

STEP = 0.01


class LoopWatch:
    """ASGI middleware, to stand outside everything. `longest`: seconds of the longest block so far."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.longest = 0.0
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._starved = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._in_flight += 1
        if self._timer is None:
            self._arm()
        try:
            await self.app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def reset(self) -> None:
        """Forget what was, and the present step: after work that may block, such as loading a model."""
        self.longest = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._arm()

    def _arm(self) -> None:
        self._starved = _without_a_core()
        self._due = time.monotonic() + STEP
        self._timer = asyncio.get_running_loop().call_later(STEP, self._look)

    def _look(self) -> None:
        late = time.monotonic() - self._due
        if late > self.longest:
            self.longest = max(self.longest, late - (_without_a_core() - self._starved))
        self._timer = None
        if self._in_flight:
            self._arm()


def _without_a_core() -> float:
    """Seconds since this thread's start that it could have run and another had its core; 0 where nobody says."""
    try:
        if not hasattr(_thread, "schedstat"):
            _thread.schedstat = open(f"/proc/self/task/{threading.get_native_id()}/schedstat", "rb", buffering=0)  # noqa: SIM115
        return int(os.pread(_thread.schedstat.fileno(), 64, 0).split()[1]) / 1e9
    except OSError:
        return 0.0


_thread = threading.local()  # closes the thread's file with the thread
