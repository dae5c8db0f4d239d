"""Admission: two classes of requests, large and small, each with slots and a bounded waiting room of its own.

A class counts requests, never texts. What one class holds or waits for costs the other nothing: a search comes through
whatever a scan has open, and a crowd of searches stops no scan. A request is refused when its class has as many inside,
in work or waiting, as slots and room allow. Asyncio's semaphores are fair, so nobody starves.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from embedserve import observability as obs
from embedserve.errors import TooManyRequests


@dataclass
class WaitStats:
    """Waiting since the last `reset()`: for the log line; the metrics count for ever."""

    admitted: int = 0
    total: float = 0.0
    longest: float = 0.0
    deepest: int = 0

    @property
    def average(self) -> float:
        return self.total / self.admitted if self.admitted else 0.0


_ASIDE_BYTES = 64 * 1024 * 1024  # bodies of requests that wait for a model without a slot
_SMALL_SLOTS = 32  # at least: their bodies are small, so many in work at once cost little


class _Class:
    """Slots of one class: `waiting` and `active` are the present numbers."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.free = asyncio.Semaphore(slots)
        self.waiting = self.active = 0


@dataclass
class Admission:
    """`slots`: large requests in work at once. `queue_size`: how many of a class may wait. Times are in seconds."""

    slots: int
    queue_size: int
    timeout: float
    deepest: int = 0  # most that ever waited at once
    longest: float = 0.0  # longest wait so far
    stats: WaitStats = field(default_factory=WaitStats)

    def __post_init__(self) -> None:
        self._aside_bytes = 0
        self._classes = {False: _Class(self.slots), True: _Class(max(_SMALL_SLOTS, self.slots))}

    @property
    def waiting(self) -> int:
        return sum(one.waiting for one in self._classes.values())

    @property
    def active(self) -> int:
        return sum(one.active for one in self._classes.values())

    def enter(self, *, small: bool) -> None:
        """Enter the waiting room; TooManyRequests when it is full. Must be paired with leave()."""
        own = self._classes[small]
        if own.waiting + own.active >= self.queue_size + own.slots:
            obs.REFUSED.inc()
            raise TooManyRequests(
                f"{own.waiting} requests wait already, the most that EMBEDDING_QUEUE_SIZE allows; try again later"
            )
        own.waiting += 1
        self.stats.deepest = max(self.stats.deepest, self.waiting)
        self.deepest = max(self.deepest, self.waiting)

    def leave(self, *, small: bool) -> None:
        """Leave the waiting room, with a slot or without."""
        self._classes[small].waiting -= 1

    async def acquire(self, *, small: bool) -> float:
        """Take a slot; returns the seconds waited. TooManyRequests after `timeout`."""
        own = self._classes[small]
        start = time.monotonic()
        if own.free.locked():
            await self._wait_for(own)
        else:
            await own.free.acquire()  # at once
        own.active += 1
        waited = time.monotonic() - start
        self.stats.admitted += 1
        self.stats.total += waited
        self.stats.longest = max(self.stats.longest, waited)
        self.longest = max(self.longest, waited)
        return waited

    async def _wait_for(self, own: _Class) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                await own.free.acquire()
        except TimeoutError:
            obs.REFUSED.inc()
            raise TooManyRequests(
                f"no slot became free within {self.timeout:g} s (EMBEDDING_QUEUE_TIMEOUT); the server is overloaded"
            ) from None

    def release(self, *, small: bool) -> None:
        own = self._classes[small]
        own.active -= 1
        own.free.release()

    @contextlib.asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Inside, the present request waits for a model, and others use its slot; it has one again afterwards.

        An exception ends the request, so it gets none then. Where too many bytes wait already it keeps its slot.
        """
        slot = HELD.get()
        if slot is None or not slot.held or self._aside_bytes + slot.size > _ASIDE_BYTES:
            yield
            return
        own = self._classes[slot.small]
        slot.give_back()
        own.waiting += 1
        self._aside_bytes += slot.size
        try:
            yield
            await self.acquire(small=slot.small)
            slot.held = True
        finally:
            own.waiting -= 1
            self._aside_bytes -= slot.size

    def take_stats(self) -> WaitStats:
        """The stats since the last call."""
        stats, self.stats = self.stats, WaitStats(deepest=self.waiting)
        return stats


@dataclass
class Slot:
    """What a request holds while it is worked on. `size`: bytes of its body."""

    admission: Admission
    small: bool
    size: int = 0
    held: bool = True

    def give_back(self) -> None:
        """Once is enough, later calls do nothing."""
        if self.held:
            self.held = False
            self.admission.release(small=self.small)


HELD: ContextVar[Slot | None] = ContextVar("slot", default=None)  # of the present request
