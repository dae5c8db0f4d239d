"""The workers of one model, kept alive: one that died or hangs is replaced, a model that is unwell is probed.

Threads cannot be ended. A worker whose inference hangs is given up with its texts and another takes its place; when
too many hang, the model is declared dead and its requests are refused, which /ready tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable

import numpy as np

from embedserve.backends.base import Backend, TokenIds, Vectors
from embedserve.engine.backlog import Backlog, Item, Job
from embedserve.engine.health import Health
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.worker import Worker
from embedserve.errors import NotReady

log = logging.getLogger(__name__)

_LOOK_EVERY = 1.0
_PROBE_EVERY = 5.0
_LONGEST_PAUSE = 30.0  # before a worker that died again and again is started once more
_PROBE_KEY = b"probe"


class Crew:
    """`start()` and `close()` on one event loop. `vocab_size`: probes are made of ids below it."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        backlog: Backlog,
        governor: MemoryGovernor,
        vocab_size: int,
        on_computed: Callable[[list[Item], Vectors], None],
        *,
        unit: bool = True,
    ) -> None:
        self.name, self.backend, self.backlog, self.governor = name, backend, backlog, governor
        self.vocab_size, self.on_computed, self.unit = vocab_size, on_computed, unit
        self.health = Health()
        self.workers = [self._worker() for _ in range(backend.info.streams)]
        self._given_up: list[Worker] = []
        self._deaths = 0
        self._rest_until = 0.0
        self._probes = itertools.count()
        self._probed = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the workers and run one real inference on each stream."""
        for worker in self.workers:
            worker.start()
        # Little: a warm-up on 32 x 512 tokens costs tens of seconds of cold start.
        for _ in self.workers:
            await self._probe()
        self._task = asyncio.create_task(self._supervise())

    async def close(self, patience: float) -> bool:
        """The backlog is closed: wait for the threads. False when one still runs after `patience` seconds."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        deadline = time.monotonic() + patience
        running = [worker for worker in (*self.workers, *self._given_up) if worker.alive]
        for worker in running:
            await asyncio.to_thread(worker.join, max(deadline - time.monotonic(), 0.01))
        return not any(worker.alive for worker in running)

    @property
    def last_used(self) -> float:
        """time.monotonic() of the last inference."""
        return max(worker.last_used for worker in self.workers)

    async def _probe(self) -> None:
        """One real inference on a few ids of its own: as distinct texts, or they would be one."""
        first = 2 + next(self._probes)
        ids: TokenIds = np.arange(first, first + 24, dtype=np.int32) % self.vocab_size
        job = Job(asyncio.get_running_loop(), 1, self.backend.info.dimension, small=True)
        self.backlog.submit(job, [_PROBE_KEY + ids.tobytes()], [ids])
        try:
            await job.future
        except asyncio.CancelledError:
            self.backlog.cancel(job)
            raise

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                self._look()
                await self._check_up()
            except Exception:  # the supervisor outlives whatever it meets
                log.exception("looking after the workers of %s failed", self.name)

    def _look(self) -> None:
        for i, worker in enumerate(self.workers):
            if worker.abandon_if_stalled():
                self._given_up = [one for one in self._given_up if one.alive] + [worker]
                if len(self._given_up) > 2 * len(self.workers):
                    self.backlog.close(NotReady(f"inferences of {self.name} hang; restart the service"))
                    return
                self.workers[i] = self._started()
            elif not worker.alive and not self.backlog.closed and time.monotonic() >= self._rest_until:
                self._deaths += 1
                self._rest_until = time.monotonic() + min(2.0**self._deaths, _LONGEST_PAUSE)
                log.warning("worker %s is started again", worker.name)
                self.workers[i] = self._started()
        if not self.health.problem:
            self._deaths = 0

    async def _check_up(self) -> None:
        """/ready is to tell the truth of the last seconds, also when nobody asks for anything."""
        since = max(self._probed, self.health.last_failure)  # a failure is seen for a while before a probe forgives it
        if self.health.problem and not len(self.backlog) and time.monotonic() - since > _PROBE_EVERY:
            self._probed = time.monotonic()
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._probe(), _PROBE_EVERY)

    def _worker(self) -> Worker:
        return Worker(self.backend, self.backlog, self.governor, self.name, self._computed, self.health, unit=self.unit)

    def _started(self) -> Worker:
        worker = self._worker()
        worker.start()
        return worker

    def _computed(self, items: list[Item], vectors: Vectors) -> None:
        real = [i for i, item in enumerate(items) if not item.key.startswith(_PROBE_KEY)]
        if len(real) == len(items):
            self.on_computed(items, vectors)
        elif real:
            self.on_computed([items[i] for i in real], vectors[real])
