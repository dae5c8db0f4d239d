"""Workers: one thread for each of the backend's streams, taking micro-batches until the backlog closes.

A failed batch fails the jobs of its members and the next batch works. Out of memory: give memory back, halve, retry,
down to one text, which then fails with OutOfMemory. The token budget follows the measured speed, so that one
micro-batch takes about `TARGET_SECONDS`: that bounds how long a search waits during a scan.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embedserve import observability as obs
from embedserve.backends.base import Backend, Vectors
from embedserve.engine.backlog import Backlog, Item
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.planner import Budget, cost
from embedserve.errors import EmbedServeError, InferenceFailed, NotReady, OutOfMemory

log = logging.getLogger(__name__)

TARGET_SECONDS = 0.6
STALLED_SECONDS = 120.0
_LEAST_TOKENS = 256


@dataclass
class Health:
    """What the last real inference says. `problem` is empty when the worker is well."""

    last_error: str = ""
    dead: str = ""
    running_since: float | None = None

    @property
    def problem(self) -> str:
        if self.dead:
            return f"the worker died: {self.dead}"
        since = self.running_since
        if since is not None and time.monotonic() - since > STALLED_SECONDS:
            return f"an inference has been running for over {STALLED_SECONDS:.0f} s"
        if self.last_error:
            return f"the last inference failed: {self.last_error}"
        return ""


class Worker:
    """One thread. `on_computed(items, vectors)` gets every batch of unit vectors before their jobs do."""

    def __init__(
        self,
        backend: Backend,
        backlog: Backlog,
        governor: MemoryGovernor,
        name: str,
        on_computed: Callable[[list[Item], Vectors], None],
    ) -> None:
        self.backend, self.backlog, self.governor = backend, backlog, governor
        self.on_computed = on_computed
        self.health = Health()
        self.tokens_per_second = 0.0
        self.last_used = time.monotonic()
        self._best_tokens = backend.info.best_batch_tokens
        self._best_texts = backend.info.best_batch_texts
        self._worth = backend.info.best_batch_tokens // 4
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def budget(self) -> Budget:
        """The bounds of the next micro-batch, from measured speed and memory."""
        limits = self.governor.limits()
        by_speed = int(self.tokens_per_second * TARGET_SECONDS) or self._best_tokens
        estimate = self.backend.activation_bytes
        return Budget(
            tokens=min(max(by_speed, _LEAST_TOKENS), self._best_tokens),
            texts=min(limits.max_texts, self._best_texts),
            worth=self._worth,
            packed=self.backend.info.packed,
            fits=lambda count, longest: estimate(count, longest) <= limits.max_bytes,
        )

    def _run(self) -> None:
        try:
            while True:
                batch = self.backlog.take(self.budget)
                if batch is None:
                    return
                self._serve(batch)
                self.last_used = time.monotonic()
                del batch  # or the last batch's ids live until the next one comes
        except BaseException as error:  # a bug of ours: nobody may wait for a dead thread
            self.health.dead = f"{type(error).__name__}"
            log.exception("worker died")
            self.backlog.close(NotReady("the inference worker died; restart the service"))

    def _serve(self, batch: list[Item]) -> None:
        try:
            self._compute(batch)
        except OutOfMemory as error:
            self._retry_smaller(batch, error)
        except Exception as error:
            self.health.last_error = type(error).__name__
            obs.INFERENCE_FAILURES.inc()
            log.exception("inference of %d texts failed", len(batch))
            self.backlog.fail(batch, _as_inference_failed(error))

    def _compute(self, batch: list[Item]) -> None:
        lengths = [item.length for item in batch]
        self.health.running_since = start = time.monotonic()
        try:
            raw = self.backend.embed([item.ids for item in batch])
        except MemoryError as error:
            raise OutOfMemory("out of memory") from error
        finally:
            self.health.running_since = None
        seconds = time.monotonic() - start
        vectors, finite = unit_rows(raw)
        del raw
        self._learn_speed(cost(len(batch), max(lengths), sum(lengths), self.backend.info.packed), seconds)
        obs.observe_batch(lengths, seconds)
        if finite.all():
            self.health.last_error = ""
            self.on_computed(batch, vectors)
            self.backlog.complete(batch, vectors)
        else:
            self._fail_rows(batch, vectors, finite)

    def _fail_rows(self, batch: list[Item], vectors: Vectors, finite: np.ndarray) -> None:
        self.health.last_error = "non-finite vector"
        obs.INFERENCE_FAILURES.inc()
        good = [item for item, ok in zip(batch, finite, strict=True) if ok]
        bad = [item for item, ok in zip(batch, finite, strict=True) if not ok]
        log.error("%d of %d vectors were not finite", len(bad), len(batch))
        self.backlog.complete(good, vectors[finite])
        self.backlog.fail(bad, InferenceFailed("the model gave a vector that is not finite (NaN, infinity or zero)"))

    def _retry_smaller(self, batch: list[Item], error: OutOfMemory) -> None:
        obs.OUT_OF_MEMORY.inc()
        self.backend.release_memory()
        self.governor.shrink()
        if len(batch) == 1:
            self.health.last_error = "out of memory"
            log.error("out of memory on one text of %d tokens", batch[0].length)
            self.backlog.fail(
                batch,
                OutOfMemory(f"not enough memory for one text of {batch[0].length} tokens; raise the memory limit"),
            )
            return
        log.warning("out of memory on %d texts: retrying in halves", len(batch))
        middle = len(batch) // 2
        self._serve(batch[:middle])
        self._serve(batch[middle:])

    def _learn_speed(self, tokens: int, seconds: float) -> None:
        if tokens < 64 or seconds <= 0:  # call overhead, not speed
            return
        speed = tokens / seconds
        self.tokens_per_second = 0.8 * self.tokens_per_second + 0.2 * speed if self.tokens_per_second else speed


def unit_rows(raw: Vectors) -> tuple[Vectors, np.ndarray]:
    """Rows L2-normalised in float32, and which of them are sound (finite, not zero). Shapes (n, d), (n,)."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", raw, raw, dtype=np.float64))
        sound = np.isfinite(norms) & (norms > 0)
        return (raw / norms[:, None]).astype(np.float32), sound


def _as_inference_failed(error: Exception) -> EmbedServeError:
    if isinstance(error, EmbedServeError):
        return error
    return InferenceFailed(f"the inference failed ({type(error).__name__}); the server's log has the reason")
