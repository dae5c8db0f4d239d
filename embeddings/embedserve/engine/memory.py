"""What the memory in use means for the next micro-batch.

The governor compares RSS with `max_memory_percent` of the limit: over the threshold the cap on texts halves, at each
look, down to `min_batch_size`; under 90 % of it the cap doubles back. The headroom, shared by the workers, bounds the
bytes of one micro-batch, down to one text: memory beats `min_batch_size`. Every COLLECT_EVERY micro-batches garbage is
collected, if it is time for that, so that cycles of a request that takes minutes do not wait for its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from embedserve.engine.garbage import COLLECTIONS

COLLECT_EVERY = 10  # micro-batches
_LOOK_EVERY = 0.25
_RISE_UNDER = 0.9  # of the threshold; what the process needs at rest must be less, or the cap never rises again


@dataclass(frozen=True)
class BatchLimits:
    """What one micro-batch may take now."""

    max_texts: int
    max_bytes: int
    explicit: bool = False

    def texts(self, advised: int) -> int:
        """Most texts, where a backend advises `advised`: an operator's number is taken instead of the advice."""
        return self.max_texts if self.explicit else min(self.max_texts, advised)


class MemoryGovernor:
    """Adapts the size of micro-batches to the memory in use. Thread-safe.

    workers: batches that may run at once, which share the headroom.
    explicit: `max_texts` was asked for; otherwise a backend's advice may be less.
    rss: bytes in use, for tests.
    """

    def __init__(
        self,
        *,
        limit: int,
        percent: float,
        min_texts: int,
        max_texts: int,
        adaptive: bool = True,
        explicit: bool = False,
        workers: int = 1,
        rss: Callable[[], int] | None = None,
    ) -> None:
        self.limit = limit
        self.threshold = int(limit * percent / 100)
        self.min_texts, self.max_texts = min_texts, max_texts
        self.adaptive = adaptive
        self.explicit = explicit
        self.workers = workers
        self.reserved = 0  # bytes that a load in progress will take
        self._rss = rss or _process_rss()
        self._lock = threading.Lock()
        self._batches = 0
        self._cap = max_texts
        self._looked = -1.0
        self._last_rss = 0

    @property
    def cap(self) -> int:
        """The present cap on texts."""
        return self._cap

    def limits(self, now: float | None = None) -> BatchLimits:
        """The limits of the next micro-batch."""
        with self._lock:
            self._look(time.monotonic() if now is None else now)
            # Even over the threshold one text must be tried: 1/16 of the limit is the least headroom.
            headroom = max(self.threshold - self._last_rss - self.reserved, self.limit // 16)
            return BatchLimits(self._cap, headroom // self.workers, self.explicit)

    def batch_done(self) -> None:
        """A micro-batch was computed, by whichever worker."""
        with self._lock:
            self._batches += 1
            due = self._batches % COLLECT_EVERY == 0
        if due:
            COLLECTIONS.collect(young=True)

    def shrink(self) -> None:
        """An inference ran out of memory: halve the cap now."""
        with self._lock:
            self._cap = max(self._cap // 2, self.min_texts) if self.adaptive else self._cap

    def _look(self, now: float) -> None:
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        self._last_rss = self._rss()
        if not self.adaptive:
            return
        if self._last_rss > self.threshold:
            self._cap = max(self._cap // 2, self.min_texts)
        elif self._last_rss < _RISE_UNDER * self.threshold:
            self._cap = min(self._cap * 2, self.max_texts)


def _process_rss() -> Callable[[], int]:
    process = psutil.Process()
    return lambda: int(process.memory_info().rss)
