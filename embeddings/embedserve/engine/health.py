"""What the last real inferences say of a model. Shared by its workers; read by /ready.

One failed inference makes it unwell until any worker succeeds again. While nobody asks for anything, the engine runs a
probe (crew.py), so that the answer is of the last seconds and not of the last user.
"""

from __future__ import annotations

import threading
import time


class Health:
    """Thread-safe. `problem` is empty when the model is well."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error = ""
        self.last_success = self.last_failure = time.monotonic()

    def succeeded(self) -> None:
        with self._lock:
            self._error = ""
            self.last_success = time.monotonic()

    def failed(self, what: str) -> None:
        """`what` in a few words, never a user's text."""
        with self._lock:
            self._error = what
            self.last_failure = time.monotonic()

    @property
    def problem(self) -> str:
        return self._error
