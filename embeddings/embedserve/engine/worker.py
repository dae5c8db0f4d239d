"""Workers: one thread for each of the backend's streams, taking micro-batches until the backlog closes.

A failed batch fails the jobs of its members and the next batch works. Out of memory: give memory back, halve, retry,
down to one text, which then fails with OutOfMemory. The token budget follows the measured speed, so that one
micro-batch takes about `TARGET_SECONDS`, or `SEARCHING_SECONDS` while small requests come: that bounds how long a
search waits during a scan.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

import numpy as np

from embedserve import observability as obs
from embedserve.backends.base import Backend, RunsAlone, Vectors
from embedserve.engine.backlog import Backlog, Item
from embedserve.engine.health import Health
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.planner import UNLIMITED, Budget, cost
from embedserve.errors import EmbedServeError, InferenceFailed, NotReady, OutOfMemory

log = logging.getLogger(__name__)

TARGET_SECONDS = 0.6  # long batches are efficient...
SEARCHING_SECONDS = 0.15  # ... but while somebody searches, each search waits for one
SEARCHING_FOR = 10.0  # seconds after the last small request
STALLED_SECONDS = 120.0
RELEASE_SECONDS = 3.0  # more than a backend waits for its running batches
_LEAST_TOKENS = 256  # the least budget of a batch: smaller batches are inefficient
_LEAST_SEARCHING = 128  # while somebody searches: a slow model takes longer than SEARCHING_SECONDS for 256


class Abandoned(Exception):
    """This worker was given up while its inference ran: what it brings comes too late."""


class Worker:
    """One thread. `on_computed(items, vectors)` gets every batch of vectors before their jobs do.

    unit: rows are L2-normalised; otherwise they are scores and stay as they are.
    """

    def __init__(
        self,
        backend: Backend,
        backlog: Backlog,
        governor: MemoryGovernor,
        name: str,
        on_computed: Callable[[list[Item], Vectors], None],
        health: Health,
        *,
        unit: bool = True,
    ) -> None:
        self.backend, self.backlog, self.governor = backend, backlog, governor
        self.on_computed = on_computed
        self.health = health
        self._rows = unit_rows if unit else plain_rows
        self.name = name
        self.tokens_per_second = 0.0
        self._batch: list[Item] = []  # in work
        self._running_since: float | None = None
        self._abandoned = False
        self.last_used = time.monotonic()
        self._best_tokens = backend.info.best_batch_tokens
        self._best_texts = backend.info.best_batch_texts
        self._embed_alone = backend.embed_alone if isinstance(backend, RunsAlone) else backend.embed
        self._worth = backend.info.best_batch_tokens // 4
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def abandon_if_stalled(self) -> bool:
        """Give up an inference that has run for over STALLED_SECONDS: its texts fail now, and this thread, which
        cannot be ended, stops when it comes back. True when that was so; the caller starts another worker."""
        since, batch = self._running_since, self._batch
        if self._abandoned or since is None or time.monotonic() - since < STALLED_SECONDS:
            return False
        self._abandoned = True
        self.health.failed(f"an inference has been running for over {STALLED_SECONDS:.0f} s")
        obs.INFERENCE_FAILURES.inc()
        log.error("an inference of %d texts hangs since %.0f s: given up", len(batch), STALLED_SECONDS)
        self.backlog.fail(batch, InferenceFailed("the inference hangs and was given up; the server's log has more"))
        return True

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def budget(self) -> Budget:
        """The bounds of the next micro-batch, from measured speed and memory."""
        limits = self.governor.limits()
        searching = time.monotonic() - self.backlog.last_small < SEARCHING_FOR
        target, least = (SEARCHING_SECONDS, _LEAST_SEARCHING) if searching else (TARGET_SECONDS, _LEAST_TOKENS)
        by_speed = int(self.tokens_per_second * target) if self.tokens_per_second else self._best_tokens
        estimate = self.backend.activation_bytes
        most = max(self.backend.info.streams - 1, 1)
        slow = self.tokens_per_second * TARGET_SECONDS or math.inf

        def fits(count: int, longest: int) -> bool:
            return estimate(count, longest) <= limits.max_bytes

        def at_once(length: int) -> int:
            if not fits(1, length):
                return 1  # its memory is there once, not for each worker
            return most if searching and length > slow else UNLIMITED  # the last worker is for searches

        return Budget(
            tokens=min(max(by_speed, least), self._best_tokens),
            texts=limits.texts(self._best_texts),
            worth=self._worth,
            packed=self.backend.info.packed,
            fits=fits,
            at_once=at_once,
        )

    def _run(self) -> None:
        try:
            while True:
                batch = self.backlog.take(self.budget)
                if batch is None:
                    return
                self._batch = batch
                self._serve(batch)
                self._batch = []
                self.last_used = time.monotonic()
                del batch  # or the last batch's ids live until the next one comes
                self.governor.batch_done()
        except Abandoned:
            log.warning("the inference that was given up has come back")
        except BaseException as error:  # a bug of ours: nobody may wait for a dead thread. The engine starts another
            self.health.failed(f"the worker died ({type(error).__name__})")
            log.exception("worker died")
            gone = NotReady("the inference worker died and is started again; send the request again")
            if self._batch:
                self.backlog.fail(self._batch, gone)
            else:  # while choosing: what it chose from may be the cause
                self.backlog.fail_all(gone)

    def _serve(self, batch: list[Item]) -> None:
        try:
            self._compute(batch)
        except OutOfMemory:
            self._retry_smaller(batch)
        except Abandoned:
            raise
        except Exception as error:
            self.health.failed(f"the last inference failed: {type(error).__name__}")
            obs.INFERENCE_FAILURES.inc()
            log.exception("inference of %d texts failed", len(batch))
            self.backlog.fail(batch, _as_inference_failed(error))

    def _compute(self, batch: list[Item]) -> None:
        lengths = [item.length for item in batch]
        if self.backend.activation_bytes(len(batch), max(lengths)) > self.governor.limits().max_bytes:
            release(self.backend)  # what earlier texts left: this one needs the room
        self._running_since = start = time.monotonic()
        try:
            alone = len(batch) == 1 and self.backlog.is_quiet(self.backend.info.streams)
            raw = (self._embed_alone if alone else self.backend.embed)([item.ids for item in batch])
        except MemoryError as error:
            raise OutOfMemory("out of memory") from error
        finally:
            self._running_since = None
            if self._abandoned:
                raise Abandoned
        seconds = time.monotonic() - start
        vectors, finite = self._rows(raw)
        del raw
        computed = cost(len(batch), max(lengths), sum(lengths), self.backend.info.packed)
        self._learn_speed(computed, seconds)
        obs.observe_batch(lengths, computed, seconds)
        if finite.all():
            self.health.succeeded()
            self.on_computed(batch, vectors)
            self.backlog.complete(batch, vectors)
        else:
            self._fail_rows(batch, vectors, finite)

    def _fail_rows(self, batch: list[Item], vectors: Vectors, finite: np.ndarray) -> None:
        if finite.any():  # a text's fault, not the model's
            self.health.succeeded()
        else:
            self.health.failed("the last inference gave no finite vector")
        obs.INFERENCE_FAILURES.inc()
        good = [item for item, ok in zip(batch, finite, strict=True) if ok]
        bad = [item for item, ok in zip(batch, finite, strict=True) if not ok]
        log.error("%d of %d vectors were not finite", len(bad), len(batch))
        self.backlog.complete(good, vectors[finite])
        self.backlog.fail(bad, InferenceFailed("the model gave a vector that is not finite (NaN, infinity or zero)"))

    def _retry_smaller(self, batch: list[Item]) -> None:
        obs.OUT_OF_MEMORY.inc()
        release(self.backend)
        self.governor.shrink()
        if len(batch) == 1:
            self.health.failed("out of memory on one text")
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


_releasing: set[int] = set()  # ids of backends in release_memory()


def release(backend: Backend) -> None:
    """backend.release_memory(), whose failure costs memory and nothing else: one that hangs is left to itself."""
    key = id(backend)
    if key in _releasing:
        return
    _releasing.add(key)
    thread = threading.Thread(target=_release, args=(backend, key), name="release-memory", daemon=True)
    thread.start()
    thread.join(RELEASE_SECONDS)
    if thread.is_alive():
        log.warning("giving memory back takes over %.0f s; going on without", RELEASE_SECONDS)


def _release(backend: Backend, key: int) -> None:
    try:
        backend.release_memory()
    except Exception as error:
        log.warning("memory could not be given back: %s", type(error).__name__)
    finally:
        _releasing.discard(key)


def unit_rows(raw: Vectors) -> tuple[Vectors, np.ndarray]:
    """Rows L2-normalised in float32, and which of them are sound (finite, not zero). Shapes (n, d), (n,)."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", raw, raw, dtype=np.float64))
        sound = np.isfinite(norms) & (norms > 0)
        return (raw / norms[:, None]).astype(np.float32), sound


def plain_rows(raw: Vectors) -> tuple[Vectors, np.ndarray]:
    """Scores as they are, and which rows are finite: a score of 0 is sound. Shapes (n, labels), (n,)."""
    return raw.astype(np.float32, copy=False), np.asarray(np.isfinite(raw).all(axis=1))


def _as_inference_failed(error: Exception) -> EmbedServeError:
    if isinstance(error, EmbedServeError):
        return error
    return InferenceFailed(f"the inference failed ({type(error).__name__}); the server's log has the reason")
