"""Which of the configured models are in memory: loaded on first use, unloaded when idle or when memory is short.

- One load at a time. A request for a model that is not there waits, a small one `HOLD` seconds at most, a large one,
  whose client has more patience, `HOLD_LARGE`; then it gets 503 with Retry-After, and the load goes on. While it waits
  its slot is free for requests of other models.
- Room is made before a load: the least recently used model goes first, an idle one at once, one that is in use when
  its requests are finished. A model that cannot fit beside nothing at all is refused by name.
- `tidy`, once a second: a model that was idle for `keep_alive` seconds goes; with memory short, the least recently
  used of several idle ones.

Knows no HTTP, and of a load only that it takes a name and gives a `Loaded`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from embedserve import observability as obs
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import NotReady, OutOfMemory, SetupError
from embedserve.machine.memory import collect_and_freeze, freeze_new, trim
from embedserve.serving.admission import HELD, Admission
from embedserve.serving.entry import ModelEntry, ServedModel
from embedserve.serving.loading import Loaded

log = logging.getLogger(__name__)

_T = TypeVar("_T")
HOLD = 10.0  # seconds: the least patient client's validation gives up at 15
HOLD_LARGE = 60.0  # clients wait 300 s for a batch, and a refused one costs them nine requests
_RETRY_AFTER = 30.0  # seconds before a load that failed is tried again
_LEAST_STAY = 5.0  # seconds that a model stays although another waits: with room for one only, work gets done
_IDLE_WHEN_SHORT = 30.0  # seconds without use after which a model goes when memory is short
_POLL = 0.02
_SPARE = 1.1  # a load is expected to take so much of what it took before


class Residents:
    """`load`: gets a model of that name, blocking. `warm`: makes what was loaded serve. `rss`: bytes in use."""

    def __init__(
        self,
        *,
        load: Callable[[str], Loaded],
        warm: Callable[[Loaded], Awaitable[ServedModel]],
        governor: MemoryGovernor,
        admission: Admission,
        keep_alive: float,
        rss: Callable[[], int],
    ) -> None:
        self._load, self._warm = load, warm
        self.governor, self.admission = governor, admission
        self.keep_alive, self._rss = keep_alive, rss
        self.entries: list[ModelEntry] = []  # the default one first
        self._one_at_a_time = asyncio.Lock()

    @property
    def loaded(self) -> list[ServedModel]:
        """The models in memory, in the order of the entries."""
        return [entry.served for entry in self.entries if entry.served is not None]

    @property
    def at_work(self) -> bool:
        """A library loads now."""
        return any(entry.load is not None and not entry.load.done() for entry in self.entries)

    @contextlib.asynccontextmanager
    async def use(self, entry: ModelEntry) -> AsyncIterator[ServedModel]:
        """The model, in memory as long as the block lasts; loaded first if need be. NotReady when it cannot be had."""
        while (served := entry.served) is None or entry.leaving:
            await self._wait_for(entry)
        entry.users += 1
        try:
            yield served
        finally:
            entry.users -= 1
            entry.last_used = time.monotonic()

    async def load(self, entry: ModelEntry) -> None:
        """Load it now, whatever there is of memory; raises what the load raises."""
        async with self._one_at_a_time:
            await self._bring(entry)

    async def preload(self, entry: ModelEntry) -> None:
        """Load it now if it fits beside what is loaded; otherwise its first request does."""
        if self._rss() + entry.bytes_needed <= self.governor.threshold:
            await self.load(entry)
        else:
            log.warning("%s is not loaded at start: memory is short. Its first request loads it", entry.id)

    async def tidy(self, now: float | None = None) -> None:
        """Unload what was idle for too long, and when memory is short one that is idle. Leaves a running load alone."""
        if self._one_at_a_time.locked():
            return
        now = time.monotonic() if now is None else now
        async with self._one_at_a_time:
            if self.keep_alive:
                for entry in self._by_last_use():
                    if entry.idle_for(now) >= self.keep_alive:
                        await self._unload(entry, f"not used for {entry.idle_for(now):.0f} s")
            idle = [entry for entry in self._by_last_use() if entry.idle_for(now) >= _IDLE_WHEN_SHORT]
            if idle and len(self.loaded) > 1 and self._rss() > self.governor.threshold:
                await self._unload(idle[0], "memory is short")

    async def close(self) -> None:
        """Stop what loads and every engine."""
        for entry in self.entries:
            if entry.load is not None:
                entry.load.cancel()
                await asyncio.gather(entry.load, return_exceptions=True)
        for model in self.loaded:
            await model.engine.close()

    async def _wait_for(self, entry: ModelEntry) -> None:
        slot = HELD.get()
        deadline = time.monotonic() + (HOLD if slot is None or slot.small else HOLD_LARGE)
        entry.waiting += 1
        try:
            async with self.admission.aside():
                while entry.served is None or entry.leaving:
                    _raise_recent_failure(entry)
                    if entry.load is None or entry.load.done():
                        entry.load = asyncio.create_task(self._load_on_demand(entry))
                    await asyncio.wait({entry.load}, timeout=max(deadline - time.monotonic(), 0))
                    if time.monotonic() >= deadline and (entry.served is None or entry.leaving):
                        raise NotReady(f"{entry.id} is loading; try again in a few seconds")
        finally:
            entry.waiting -= 1

    async def _load_on_demand(self, entry: ModelEntry) -> None:
        """The load that requests wait for. What fails is kept in the entry: nobody awaits this task's result."""
        try:
            async with self._one_at_a_time:
                if entry.served is None:  # it was leaving, and has left meanwhile
                    await self._make_room(entry)
                    await self._bring(entry)
        except (SetupError, OutOfMemory) as error:
            self._failed(entry, error.message)
        except Exception as error:  # a bug, or a library's
            log.exception("loading %s failed", entry.id)
            self._failed(entry, f"{type(error).__name__}: {error}; the log has the details")
        if entry.failure:
            await asyncio.to_thread(_give_back)

    def _failed(self, entry: ModelEntry, reason: str) -> None:
        entry.failure, entry.failed_at = reason, time.monotonic()
        log.error("%s could not be loaded: %s", entry.id, reason)

    async def _bring(self, entry: ModelEntry) -> None:
        before, start = self._rss(), time.monotonic()
        self.governor.reserved = entry.bytes_needed
        try:
            loaded = await in_daemon_thread(functools.partial(self._load, entry.name))
            served = await self._warm(loaded)
        finally:
            self.governor.reserved = 0
        if entry.name == "auto":
            entry.name = served.spec.id  # or another model might come the next time
            served.notice = served.notice or entry.notice
        entry.arrived(served)
        self._count_workers()
        await asyncio.to_thread(freeze_new)
        entry.bytes_needed = max(int((self._rss() - before) * _SPARE), 0)
        obs.MODEL_LOADS.labels(entry.id).inc()
        log.info("%s was loaded in %.2f s, %.0f MB", entry.id, time.monotonic() - start, (self._rss() - before) / 1e6)

    async def _make_room(self, entry: ModelEntry) -> None:
        """Unload the least recently used until `entry` fits under the threshold, or nothing else is loaded."""
        if self._rss() + entry.bytes_needed > self.governor.threshold:
            await asyncio.to_thread(trim)
        while self._rss() + entry.bytes_needed > self.governor.threshold:
            others = [one for one in self._by_last_use() if one is not entry]
            if not others:
                break
            goes = next((one for one in others if not one.users and not one.waiting), others[0])
            await self._empty(goes)
            await self._unload(goes, f"room for {entry.id}")
        if self._rss() + entry.bytes_needed > self.governor.limit:
            raise OutOfMemory(
                f"{entry.id} needs about {entry.bytes_needed / 1e6:.0f} MB and {self._rss() / 1e6:.0f} of "
                f"{self.governor.limit / 1e6:.0f} MB are in use without it; raise the memory limit"
            )

    async def _empty(self, entry: ModelEntry) -> None:
        """Wait until nobody uses it: it stays a little, then takes no new requests, and those in work end."""
        while (entry.users or entry.waiting) and time.monotonic() - entry.loaded_at < _LEAST_STAY:
            await asyncio.sleep(_POLL)
        entry.leaving = True
        try:
            while entry.users:
                await asyncio.sleep(_POLL)
        except BaseException:
            entry.leaving = False
            raise

    async def _unload(self, entry: ModelEntry, why: str) -> None:
        served, entry.served = entry.served, None
        entry.leaving = False
        if served is None:
            return
        before = self._rss()
        self._count_workers()
        await served.engine.close()
        del served
        await asyncio.to_thread(_give_back)
        # All that it took, what came after its load included.
        entry.bytes_needed = max(entry.bytes_needed, int((before - self._rss()) * _SPARE))
        obs.MODEL_UNLOADS.labels(entry.id).inc()
        log.info("%s was unloaded (%s): %.0f -> %.0f MB resident", entry.id, why, before / 1e6, self._rss() / 1e6)

    def _by_last_use(self) -> list[ModelEntry]:
        """What is loaded, the least recently used first."""
        return sorted((entry for entry in self.entries if entry.served is not None), key=lambda entry: entry.last_used)

    def _count_workers(self) -> None:
        self.governor.workers = max(sum(model.engine.backend.info.streams for model in self.loaded), 1)
        obs.MODELS_LOADED.set(len(self.loaded))


def _raise_recent_failure(entry: ModelEntry) -> None:
    if not entry.failure:
        return
    if time.monotonic() - entry.failed_at < _RETRY_AFTER:
        raise NotReady(f"{entry.id} could not be loaded: {entry.failure}")
    entry.failure = ""


def _give_back() -> None:
    collect_and_freeze()  # unfreezes first: what the model leaves behind was frozen after its load
    trim()


async def in_daemon_thread(work: Callable[[], _T]) -> _T:
    """As asyncio.to_thread, but neither the loop's end nor the interpreter's waits for it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else set_it())

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            settle(functools.partial(future.set_exception, error))
        else:
            settle(functools.partial(future.set_result, result))

    threading.Thread(target=run, name="loading", daemon=True).start()
    return await future
