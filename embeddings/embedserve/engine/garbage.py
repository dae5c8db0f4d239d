"""When garbage is collected under load.

A collection holds the interpreter and cannot be interrupted. A whole one takes 0.2 ms after a search, 3 to 15 ms while
a hundred requests are there, and many times that where its thread loses its core: everybody waits meanwhile. A young
one looks only at what was made since the last, which is nearly all that a request leaves: 0.2 ms then too.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Iterator

YOUNG, WHOLE = 1, 2  # the collector's generations


class Collections:
    """They take `SHARE` of the time at most, the whole ones `WHOLE_SHARE`, whoever asks. Thread-safe."""

    SHARE = 0.02
    WHOLE_SHARE = 0.001

    def __init__(self) -> None:
        self._not_before = self._whole_not_before = 0.0  # time.monotonic()
        self._turn = threading.Lock()

    def due_in(self) -> float:
        """Seconds until the next may run."""
        return max(0.0, self._not_before - time.monotonic())

    def collect(self, *, young: bool = False) -> bool:
        """Whether it was time for one. Otherwise, and while another thread collects, nothing is done.

        young: never a whole one. Threads that compute ask so: one of them may wait for a core while it collects."""
        if self.due_in() or not self._turn.acquire(blocking=False):
            return False
        try:
            whole = not young and time.monotonic() >= self._whole_not_before
            start = time.thread_time()
            gc.collect(WHOLE if whole else YOUNG)
            now, took = time.monotonic(), time.thread_time() - start
            self._not_before = now + took / self.SHARE
            if whole:
                self._whole_not_before = now + took / self.WHOLE_SHARE
        finally:
            self._turn.release()
        return True


@contextlib.contextmanager
def only_when_asked() -> Iterator[None]:
    """Meanwhile Python starts no whole collection by itself, in whichever thread makes the next object."""
    before = gc.get_threshold()
    gc.set_threshold(*before[:2], 1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


COLLECTIONS = Collections()
