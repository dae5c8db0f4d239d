"""Admission: an asyncio.Semaphore of slots, one of them kept for small requests, and a bounded waiting room.

The semaphore counts requests, never texts. A large request first takes one of (slots - 1) large places, so the
last slot is always free for a request that declared a small body. Asyncio's semaphores are fair, so nobody starves.
"""

from __future__ import annotations

import asyncio
import time
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


@dataclass
class Admission:
    """Slots for requests. `waiting` and `active` are the present numbers; times are in seconds."""

    slots: int
    queue_size: int
    timeout: float
    waiting: int = 0
    active: int = 0
    deepest: int = 0  # most that ever waited at once
    longest: float = 0.0  # longest wait so far
    stats: WaitStats = field(default_factory=WaitStats)

    def __post_init__(self) -> None:
        self._all = asyncio.Semaphore(self.slots)
        self._large = asyncio.Semaphore(self.slots - 1)

    def enter(self) -> None:
        """Enter the waiting room; TooManyRequests when it is full. Must be paired with leave()."""
        if self.waiting >= self.queue_size and self._all.locked():
            obs.REFUSED.inc()
            raise TooManyRequests(
                f"{self.waiting} requests wait already, the most that EMBEDDING_QUEUE_SIZE allows; try again later"
            )
        self.waiting += 1
        self.stats.deepest = max(self.stats.deepest, self.waiting)
        self.deepest = max(self.deepest, self.waiting)

    def leave(self) -> None:
        """Leave the waiting room, with a slot or without."""
        self.waiting -= 1

    async def acquire(self, *, small: bool) -> float:
        """Take a slot; returns the seconds waited. TooManyRequests after `timeout`."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                if not small:
                    await self._large.acquire()
                try:
                    await self._all.acquire()
                except BaseException:
                    if not small:
                        self._large.release()
                    raise
        except TimeoutError:
            obs.REFUSED.inc()
            raise TooManyRequests(
                f"no slot became free within {self.timeout:g} s (EMBEDDING_QUEUE_TIMEOUT); the server is overloaded"
            ) from None
        self.active += 1
        waited = time.monotonic() - start
        self.stats.admitted += 1
        self.stats.total += waited
        self.stats.longest = max(self.stats.longest, waited)
        self.longest = max(self.longest, waited)
        return waited

    def release(self, *, small: bool) -> None:
        self.active -= 1
        self._all.release()
        if not small:
            self._large.release()

    def take_stats(self) -> WaitStats:
        """The stats since the last call."""
        stats, self.stats = self.stats, WaitStats(deepest=self.waiting)
        return stats
