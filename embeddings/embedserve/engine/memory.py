"""How much memory this process may use, how much it does, and what that means for the next micro-batch.

The limit is the least of EMBEDDING_MEMORY_LIMIT, the cgroup's (v2 or v1, the whole path up) and the RAM. The
governor compares RSS with `max_memory_percent` of it: over the threshold the cap on texts halves, at each look, down to
`min_batch_size`; under 80 % of it the cap doubles back. The headroom, shared by the workers, bounds the bytes of one
micro-batch, down to one text: memory beats `min_batch_size`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number close to 2**63
_LOOK_EVERY = 0.25


def cgroup_limit(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int | None:
    """The memory limit of this process's cgroup in bytes, the least on the way up; None without one."""
    limits = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        folder = base / path.lstrip("/")
        # Inside a container the path may be the host's: then only the mount's own root is there.
        for candidate in [folder, *folder.parents]:
            try:
                text = (candidate / name).read_text().strip()
            except OSError:
                text = "max"
            if text != "max" and 0 < int(text) < _UNLIMITED:
                limits.append(int(text))
            if candidate == base:
                break
    return min(limits, default=None)


def usable_memory(limit: int = 0) -> int:
    """Bytes this process may really use."""
    return min(x for x in (limit, cgroup_limit(), psutil.virtual_memory().total) if x)


def trim() -> None:
    """Give freed heap pages back to the system (glibc only)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def collect_and_freeze() -> None:
    """After a model was loaded or dropped: collect for real, then move what lives out of the collector's sight.

    A later gc.collect() then looks at a request's few objects, not at the 400,000 of the libraries. Unfreeze first, or
    a frozen cycle is kept for ever.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class BatchLimits:
    """What one micro-batch may take now."""

    max_texts: int
    max_bytes: int


class MemoryGovernor:
    """Adapts the size of micro-batches to the memory in use. Thread-safe.

    workers: batches that may run at once, which share the headroom.
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
        workers: int = 1,
        rss: Callable[[], int] | None = None,
    ) -> None:
        self.limit = limit
        self.threshold = int(limit * percent / 100)
        self.min_texts, self.max_texts = min_texts, max_texts
        self.adaptive = adaptive
        self.workers = workers
        self._rss = rss or _process_rss()
        self._lock = threading.Lock()
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
            headroom = max(self.threshold - self._last_rss, self.limit // 16)
            return BatchLimits(self._cap, headroom // self.workers)

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
        elif self._last_rss < 0.8 * self.threshold:
            self._cap = min(self._cap * 2, self.max_texts)


def _process_rss() -> Callable[[], int]:
    process = psutil.Process()
    return lambda: int(process.memory_info().rss)
