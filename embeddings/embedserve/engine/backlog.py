"""The backlog: texts that wait to be computed, from all requests, and who waits for each.

Identical texts (same key) in flight are one `Item` with several subscribers. `take()` gives a worker its next
micro-batch:
- items of small jobs (few tokens: a search) first, in order of arrival; after `_SMALL_STREAK` batches of them
  one batch of the others, so that nothing starves;
- else around the longest text of the *oldest* job, filled with its neighbours in length from all jobs. So padding
  is small, old requests finish first, and their clients send the next ones while the rest is computed. A text that is
  too long to run beside what runs now is passed over until that is done.

A job's future always resolves: with its vectors when the last item is done, with the first error otherwise. The lock
is held for list work only, never during inference. Knows no tokenizer, cache or backend.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from embedserve.backends.base import TokenIds, Vectors
from embedserve.engine.planner import UNLIMITED, Budget, take_around

_SMALL_STREAK = 8
_LEAST_SHARE = 64  # tokens: less is not worth a worker of its own
_CROWD = 3  # small jobs that wait when another one comes, on average of the last ones: more than one person searches
_CROWD_FOR = 1.0  # seconds after the last small job


@dataclass(eq=False)
class Item:
    """One distinct text to compute. `subscribers`: (job, row) pairs; none left means nobody wants it."""

    key: bytes
    ids: TokenIds
    subscribers: list[tuple[Job, int]] = field(default_factory=list)
    taken: bool = False

    @property
    def length(self) -> int:
        return len(self.ids)


class Job:
    """The texts of one request that must be computed. Made on `loop`, or anywhere with a `future` of it.

    vectors: (n, dimension) float32, filled row by row. future: resolves on `loop` with `vectors` or an error.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        count: int,
        dimension: int,
        *,
        small: bool,
        future: asyncio.Future[Vectors] | None = None,
    ) -> None:
        self.loop = loop
        self.future = loop.create_future() if future is None else future
        self.vectors: Vectors = np.empty((count, dimension), dtype=np.float32)
        self.remaining = count
        self.small = small
        self.items: list[Item] = []  # ascending by length; the tail is cut off as items are taken
        self.closed = False

    def longest_waiting(self) -> Item | None:
        """The longest item that no worker has taken yet."""
        while self.items and self.items[-1].taken:
            self.items.pop()
        return self.items[-1] if self.items else None

    def resolve(self, error: BaseException | None = None) -> None:
        """Resolve the future from any thread; once is enough, later calls do nothing."""
        self.closed = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            self.loop.call_soon_threadsafe(self._set, error)

    def _set(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(self.vectors)
        else:
            self.future.set_exception(error)


class Backlog:
    def __init__(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._in_flight: dict[bytes, Item] = {}
        self._small: deque[Item] = deque()
        self._sorted: list[Item] = []  # ascending by length; items that were taken or dropped go when passed over
        self._jobs: OrderedDict[Job, None] = OrderedDict()  # oldest first, small ones not among them
        self._long: set[Item] = set()  # that run now, and are long by their budget
        self._streak = 0
        self._closed: BaseException | None = None
        self._waiting = 0
        self._waiting_tokens = 0
        self._idle = 0  # threads in take() that wait for work
        self.last_small = -math.inf  # time.monotonic() when the last small job came, or was at last begun
        self._crowd = 0.0  # how many of them wait when one comes
        self.dropped = 0  # texts that nobody wanted any more before they were computed

    @property
    def closed(self) -> BaseException | None:
        """Why nothing is taken any more; None while it is open."""
        return self._closed

    def __len__(self) -> int:
        """Texts waiting (not yet taken). Takes no lock and walks nothing: /health asks under any load."""
        return self._waiting

    def is_quiet(self, workers: int) -> bool:
        """Whether nothing waits and all workers but the one that asks are idle."""
        return not self._waiting and self._idle >= workers - 1

    def submit(self, job: Job, keys: Sequence[bytes], ids: Sequence[TokenIds]) -> None:
        """Add a job: row i of its vectors is the text with ids[i], whose key is keys[i] (distinct keys)."""
        with self._changed:
            if self._closed is not None:
                job.resolve(self._closed)
                return
            fresh = []
            for row, (key, text) in enumerate(zip(keys, ids, strict=True)):
                item = self._in_flight.get(key)
                if item is None:
                    item = self._in_flight[key] = Item(key, text)
                    fresh.append(item)
                elif job.small and not item.taken:
                    self._small.append(item)  # a search wants it now: it need not wait with the scan's texts
                item.subscribers.append((job, row))
                job.items.append(item)
            self._waiting += len(fresh)
            self._waiting_tokens += sum(item.length for item in fresh)
            job.items.sort(key=lambda item: item.length)
            if job.small:
                self.last_small = time.monotonic()
                self._crowd += (len(self._small) - self._crowd) / 8
                self._small.extend(fresh)
            else:
                self._sorted.extend(fresh)
                self._sorted.sort(key=lambda item: item.length)  # two sorted runs: timsort merges them
                self._jobs[job] = None
            # No more workers than there are texts: one that finds nothing takes the interpreter from one that works.
            self._changed.notify(len(job.items))

    def cancel(self, job: Job) -> None:
        """Nobody waits for this job any more: what only it wanted is not computed."""
        with self._changed:
            self._forget(job)
            job.closed = True

    def take(self, budget: Callable[[], Budget]) -> list[Item] | None:
        """The next micro-batch, waiting for work; None once the backlog is closed. Any thread.

        budget: asked when there is work, so that it is of that moment.
        """
        with self._changed:
            while self._closed is None:
                if (self._small or self._sorted) and (batch := self._next(self._shared(budget()))):
                    return batch
                self._idle += 1
                try:
                    self._changed.wait()
                finally:
                    self._idle -= 1
            return None

    def complete(self, items: Sequence[Item], vectors: npt.NDArray[np.float32]) -> None:
        """The rows of `vectors` are those of `items`."""
        with self._changed:
            self._ran(items)
            for item, vector in zip(items, vectors, strict=True):
                self._land(item)
                for job, row in item.subscribers:
                    job.vectors[row] = vector
                    job.remaining -= 1
                    if job.remaining == 0:
                        self._jobs.pop(job, None)
                        job.resolve()
                item.subscribers = []

    def fail(self, items: Sequence[Item], error: BaseException) -> None:
        """Every job with a text among `items` fails; their other texts are dropped."""
        with self._changed:
            self._ran(items)
            for item in items:
                self._land(item)
                for job, _row in list(item.subscribers):
                    if not job.closed:
                        job.resolve(error)
                        self._forget(job)
                item.subscribers = []

    def fail_all(self, error: BaseException) -> None:
        """Fail every job, those in work too; take what comes afterwards."""
        with self._changed:
            for item in list(self._in_flight.values()):
                for job, _row in item.subscribers:
                    if not job.closed:
                        job.resolve(error)
                item.subscribers = []
                item.taken = True  # counted out below: a cancel that comes later must not count it again
            self._in_flight.clear()
            self._small.clear()
            self._sorted.clear()
            self._jobs.clear()
            self._waiting = self._waiting_tokens = 0

    def close(self, error: BaseException) -> None:
        """Fail everything that waits, wake the workers, refuse what comes."""
        with self._changed:
            self._closed = error
            self.fail_all(error)
            self._changed.notify_all()

    def _forget(self, job: Job) -> None:
        self._jobs.pop(job, None)
        for item in job.items:
            item.subscribers = [pair for pair in item.subscribers if pair[0] is not job]
            if not item.subscribers and not item.taken:
                item.taken = True  # passed over by take()
                self._land(item)
                self._waiting -= 1
                self._waiting_tokens -= item.length
                self.dropped += 1

    def _ran(self, items: Sequence[Item]) -> None:
        if not self._long.isdisjoint(items):
            self._long.difference_update(items)
            self._changed.notify_all()  # a worker may wait for it

    def _land(self, item: Item) -> None:
        if self._in_flight.get(item.key) is item:  # after fail_all() the same text may be there as another item
            del self._in_flight[item.key]

    def _shared(self, budget: Budget) -> Budget:
        """What waits is divided among the idle workers: eight short texts on four of them are not one batch."""
        share = max(-(-self._waiting_tokens // (1 + self._idle)), _LEAST_SHARE)
        return budget if share >= budget.tokens else replace(budget, tokens=share, worth=min(budget.worth, share))

    def _in_a_crowd(self, budget: Budget) -> Budget:
        """Half a batch of the others' while many search at once: each of them waits for a part of one, and then for the
        rest of the crowd."""
        if self._crowd < _CROWD or time.monotonic() - self.last_small > _CROWD_FOR:
            return budget
        tokens = max(budget.tokens // 2, _LEAST_SHARE)
        return replace(budget, tokens=tokens, worth=min(budget.worth, tokens))

    def _next(self, budget: Budget) -> list[Item]:
        while self._small and self._small[0].taken:
            self._small.popleft()
        oldest = self._oldest_waiting(budget)
        if self._small and (oldest is None or self._streak < _SMALL_STREAK):
            self._streak += 1
            self.last_small = time.monotonic()
            batch = self._take_small(budget)
        elif oldest is not None:
            self._streak = 0
            batch = self._take_sorted(oldest, self._in_a_crowd(budget))
        else:
            return []
        for item in batch:
            item.taken = True
            if budget.at_once(item.length) < UNLIMITED:
                self._long.add(item)
        self._waiting -= len(batch)
        self._waiting_tokens -= sum(item.length for item in batch)
        return batch

    def _oldest_waiting(self, budget: Budget) -> Item | None:
        """The longest text of the oldest job that may run beside what runs now."""
        running = len(self._long)
        for job in self._jobs:
            item = job.longest_waiting()
            if item is not None and running >= budget.at_once(item.length):
                shorter = (one for one in reversed(job.items) if not one.taken)
                item = next((one for one in shorter if running < budget.at_once(one.length)), None)
            if item is not None:
                return item
        return None

    def _take_small(self, budget: Budget) -> list[Item]:
        batch: list[Item] = []
        longest = tokens = 0
        while self._small:
            item = self._small[0]
            if not item.taken and item not in batch:
                longest = max(longest, item.length)
                tokens += item.length
                if batch and not budget.allows(len(batch) + 1, longest, tokens):
                    break
                batch.append(item)
            self._small.popleft()
        return batch

    def _take_sorted(self, anchor: Item, budget: Budget) -> list[Item]:
        # The list is compacted here rather than at every cancel: one pass over pointers for each micro-batch.
        self._sorted = [item for item in self._sorted if not item.taken]
        lengths = [item.length for item in self._sorted]
        at = bisect.bisect_left(lengths, anchor.length)
        while at < len(self._sorted) and self._sorted[at] is not anchor:
            at += 1
        if at == len(self._sorted):  # the anchor came in with a small job and waits in that queue
            return [anchor]
        start, stop = take_around(lengths, at, budget)
        batch = self._sorted[start:stop]
        del self._sorted[start:stop]
        return batch
