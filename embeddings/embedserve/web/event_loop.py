"""How long the event loop was blocked while requests were in flight, measured from inside.

While something runs on the loop for long, or holds the interpreter in another thread, nobody else is served. A timer
that should go off every `STEP` is late by that time, less what was left of its step: a block is measured up to one
step too short. There is no timer while no request is in flight, so an idle server does not wake for it.

Where the kernel says for how long a thread could have run but had no core (Linux's schedstat), that is taken off: a
busy machine is no fault of the program's. It is the loop's own thread that had none, or the one that held the
interpreter meanwhile. Nobody says which one that is, so the figure is what is left beside the thread that waited
longest for a core, and never less than what one thread computed.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

STEP = 0.01
_CONTENDED = 0.001  # seconds of a step without a core: the next steps look at every thread
_CONTENDED_FOR = 1.0  # seconds


class Clock(NamedTuple):
    """Of a thread since its start, in seconds."""

    computed: float = 0.0
    without_a_core: float = 0.0


class LoopWatch:
    """ASGI middleware, to stand outside everything. `longest`: seconds of the longest block so far. `late`: the same
    with what the machine had a part in, as a client sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.longest = self.late = 0.0
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._contended_until = 0.0
        self._clock, self._clocks = Clock(), dict[int, Clock]()

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
        self.longest = self.late = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._arm()

    def _arm(self) -> None:
        self._clock = clock(threading.get_native_id())
        now = time.monotonic()
        self._clocks = clocks() if now < self._contended_until else {}
        self._due = now + STEP
        self._timer = asyncio.get_running_loop().call_later(STEP, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        late = now - self._due
        self.late = max(self.late, late)
        waited = clock(threading.get_native_id()).without_a_core - self._clock.without_a_core
        if waited > _CONTENDED:
            self._contended_until = now + _CONTENDED_FOR
        if late - waited > self.longest:
            self.longest = max(self.longest, ours(late, waited, self._clocks, clocks))
        self._timer = None
        if self._in_flight:
            self._arm()


def ours(late: float, waited: float, before: Mapping[int, Clock], look: Callable[[], Mapping[int, Clock]]) -> float:
    """Seconds of `late` that are not the machine's. waited: of the loop's thread, for a core. before: every thread's
    clock at the start; none known: only the loop's thread is excused. look: the clocks now."""
    if not before:
        return late - waited
    spent = [(now, before[thread]) for thread, now in look().items() if thread in before]
    longest_wait = max((now.without_a_core - then.without_a_core for now, then in spent), default=0.0)
    computed = max((now.computed - then.computed for now, then in spent), default=0.0)
    return max(late - max(waited, longest_wait), min(late - waited, computed))


def clocks() -> dict[int, Clock]:
    """Of all threads that can hold the interpreter, by native id: 6 us each, so only while cores are short."""
    return {thread.native_id: clock(thread.native_id) for thread in threading.enumerate() if thread.native_id}


def clock(thread: int) -> Clock:
    """Zeros where nobody says."""
    try:
        file = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
        try:
            computed, waited, _turns = os.read(file, 64).split()
        finally:
            os.close(file)
        return Clock(int(computed) / 1e9, int(waited) / 1e9)
    except (OSError, ValueError):  # another kernel, or the thread has ended
        return Clock()
