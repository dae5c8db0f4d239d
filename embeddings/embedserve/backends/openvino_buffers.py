"""When a compiled model gives its buffers back.

The buffers between layers grow to the largest batch that a stream has computed, and OpenVINO keeps them: one text of
8,192 tokens leaves 0.4 GB (jina's shape) in each stream. They are given back once no such
text came for `KEEP` seconds. That can be done only while nothing runs, so what comes next waits for what runs now.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

LARGE = 256 * 2**20  # bytes that a batch needs, by the backend's estimate
KEEP = 30.0  # seconds: long texts come in rows, and each release costs 0.1 s and the page faults of the next
_PATIENCE = 1.0  # seconds


class Buffers:
    """`free()` gives them back; it is called while nothing runs. Thread-safe."""

    def __init__(self, free: Callable[[], None]) -> None:
        self._free = free
        self._gate = threading.Condition()
        self._running = self._large = 0  # batches, and those of them that are large
        self._large_at: float | None = None  # when the last large batch ended; None: none since they were given back
        self._draining = False

    @contextmanager
    def in_use(self, need: int) -> Iterator[None]:
        """Around a batch that needs so many bytes."""
        with self._gate:
            if not self._gate.wait_for(lambda: not self._draining, timeout=_PATIENCE):
                self._draining, self._large_at = False, time.monotonic()  # something runs for long: another time
            self._running += 1
            self._large += need > LARGE
        try:
            yield
        finally:
            with self._gate:
                self._running -= 1
                self._large -= need > LARGE
                if need > LARGE:
                    self._large_at = time.monotonic()
                elif self._large_at is not None and not self._large and time.monotonic() - self._large_at > KEEP:
                    self._draining = True
                if self._draining and not self._running:
                    self._give_back()
                self._gate.notify_all()

    def release(self) -> None:
        """Give them back once nothing runs. Nothing begins meanwhile; gives up after a moment."""
        with self._gate:
            self._draining = True
            self._gate.wait_for(lambda: not self._draining or not self._running, timeout=_PATIENCE)
            if self._draining and not self._running:  # otherwise the last batch did it, or one does not end
                self._give_back()
            self._draining = False
            self._gate.notify_all()

    def _give_back(self) -> None:
        self._draining, self._large_at = False, None
        try:
            self._free()
        except RuntimeError as error:
            log.warning("the buffers were not given back: %s", error)
