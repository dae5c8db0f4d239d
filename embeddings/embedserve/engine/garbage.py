"""When garbage is collected under load.

A collection holds the interpreter and cannot be interrupted. It takes 0.2 ms after a search, 5 ms while requests of
thousands of texts are there, and many times that where its thread loses its core: everybody waits meanwhile.
"""

from __future__ import annotations

import gc
import threading
import time


class Collections:
    """They take `SHARE` of the time at most, whoever asks. Thread-safe."""

    SHARE = 0.02

    def __init__(self) -> None:
        self._not_before = 0.0  # time.monotonic()
        self._turn = threading.Lock()

    def due_in(self) -> float:
        """Seconds until the next may run."""
        return max(0.0, self._not_before - time.monotonic())

    def collect(self) -> bool:
        """Whether it was time for one. Otherwise, and while another thread collects, nothing is done."""
        if self.due_in() or not self._turn.acquire(blocking=False):
            return False
        try:
            start = time.thread_time()
            gc.collect()
            self._not_before = time.monotonic() + (time.thread_time() - start) / self.SHARE
        finally:
            self._turn.release()
        return True


COLLECTIONS = Collections()
