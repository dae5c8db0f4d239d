"""All cores for one text: a second copy of a compiled model, made in the background once a text has come alone.

The streams of one compiled model share its packed weights, but each has threads // streams threads for good, so one
text runs on one core. OpenVINO shares no packed weights between compiled models: measured, the copy takes 39 MiB
(MiniLM, bf16), 64 MiB (MiniLM, fp32), 258 MiB (jina's shape, bf16), and a text 0.54 to 0.76 of the time on two cores.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

_DELAY = 2.0  # seconds: not while the server starts


class WideModel:
    """`compile_it()` gives the compiled model. Thread-safe."""

    def __init__(self, compile_it: Callable[[], Any]) -> None:
        self._compile = compile_it
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._model: Any = None
        self._closed = threading.Event()

    def get(self) -> Any | None:
        """The compiled model; None while it is being made or where it could not be."""
        if self._model is None:
            with self._lock:
                if self._thread is None and not self._closed.is_set():
                    self._thread = threading.Thread(target=self._make, name="wide-model", daemon=True)
                    self._thread.start()
        return self._model

    def release_memory(self) -> None:
        """Frees the buffers between layers. Nothing may run."""
        if self._model is not None:
            self._model.release_memory()

    def close(self) -> None:
        """Free it. A compilation in progress is waited for: its library must not outlive the process's end."""
        with self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()
        self._model = None

    def _make(self) -> None:
        if self._closed.wait(_DELAY):
            return
        start = time.monotonic()
        try:
            model = self._compile()
        except (RuntimeError, MemoryError) as error:
            log.warning(
                "one text goes on to use one core: the second copy could not be made (%s)", type(error).__name__
            )
            return
        with self._lock:
            if not self._closed.is_set():
                self._model = model
        log.info("one text alone uses all cores from now on (compiled in %.1f s)", time.monotonic() - start)
