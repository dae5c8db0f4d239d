"""One served model: texts or token ids in, unit vectors and exact token counts out.

Tokenising and cache look-ups run in threads (small requests have their own, so that a search never waits behind a
scan's megabytes); what is missing becomes one Job in the backlog. Cancelling `embed` drops the request's texts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from embedserve import observability as obs
from embedserve.backends.base import Backend, TokenIds, Vectors
from embedserve.engine.backlog import Backlog, Item, Job
from embedserve.engine.cache import EmbeddingCache, key_of
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.worker import Worker, unit_rows
from embedserve.errors import ContextLengthExceeded, InvalidRequest, NotReady

log = logging.getLogger(__name__)

SMALL_TOKENS = 1024  # a job of so few tokens is served before a scan's
_SMALL_CHARS = 4_096  # of a request that is tokenised in the thread kept for searches
_ENCODE_AT_ONCE = 256
_FOREIGN = (
    "These look like another tokenizer's ids: send texts instead (LangChain's OpenAIEmbeddings: "
    "check_embedding_ctx_length=False), or ids of this model's tokenizer with its special tokens"
)


class Encoded(Protocol):
    """One tokenised text: `ids` as the model will see them, `length` in tokens before the cut."""

    @property
    def ids(self) -> TokenIds: ...

    @property
    def length(self) -> int: ...


class Tokenizer(Protocol):
    """What the engine needs of a tokenizer. All methods are thread-safe."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def special(self) -> tuple[TokenIds, TokenIds]:
        """The ids before and after every text; empty arrays where the model has none."""
        ...

    def encode(self, texts: Sequence[str], max_tokens: int) -> Sequence[Encoded]: ...


@dataclass(frozen=True)
class Embedded:
    """vectors: (n, dimension) float32, L2-normalised, in input order. tokens: what the model saw in all.

    truncated: texts that were cut at the model's limit. cached: texts that were not computed for this request, because
    the cache had them or an equal text of the request was computed.
    """

    vectors: Vectors
    tokens: int
    truncated: int = 0
    cached: int = 0


class Engine:
    """Owns the backend's workers. Use `await start()`, `await embed(...)`, `await close()` on one event loop."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        tokenizer: Tokenizer,
        max_tokens: int,
        governor: MemoryGovernor,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.name, self.backend, self.tokenizer, self.max_tokens = name, backend, tokenizer, max_tokens
        self.governor, self.cache = governor, cache
        self.backlog = Backlog()
        self.workers = [
            Worker(backend, self.backlog, governor, f"{name}-{i}", self._computed) for i in range(backend.info.streams)
        ]
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tokenise")
        self._small_thread = ThreadPoolExecutor(1, thread_name_prefix="tokenise-small")
        self._warned_overlong = False
        self._dropped_seen = 0
        self.warm = False

    async def start(self) -> None:
        """Start the workers and run one real inference on each stream; ready afterwards."""
        for worker in self.workers:
            worker.start()
        loop = asyncio.get_running_loop()
        start = time.monotonic()
        # Little: a warm-up on 32 x 512 tokens costs tens of seconds of cold start. Distinct ids, or they'd be one text.
        rows = [np.arange(2 + i, 26 + i, dtype=np.int32) % self.tokenizer.vocab_size for i in range(len(self.workers))]
        for row in rows:
            job = Job(loop, 1, self.backend.info.dimension, small=True)
            self.backlog.submit(job, [b"warm-up" + row.tobytes()], [row])
            await job.future
        await loop.run_in_executor(self._small_thread, self.tokenizer.encode, ["def warm_up(): pass"], self.max_tokens)
        self.warm = True
        log.info("%s is warm after %.2f s", self.name, time.monotonic() - start)

    async def close(self) -> None:
        """Fail what waits, stop the workers, free the model."""
        self.backlog.close(NotReady("the server is shutting down"))
        loop = asyncio.get_running_loop()
        for worker in self.workers:
            await loop.run_in_executor(None, worker.join, 30)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._small_thread.shutdown(wait=False, cancel_futures=True)
        if not any(worker.alive for worker in self.workers):
            self.backend.close()

    @property
    def problem(self) -> str:
        """Why this model is not ready; empty when it is."""
        if not self.warm:
            return "the model is not warm yet"
        return next((worker.health.problem for worker in self.workers if worker.health.problem), "")

    @property
    def idle_since(self) -> float:
        """time.monotonic() of the last inference."""
        return max(worker.last_used for worker in self.workers)

    async def embed(
        self, texts: Sequence[str], *, prefix: str = "", dimension: int | None = None, truncate: bool = True
    ) -> Embedded:
        """Embed texts (each with `prefix` in front). `dimension`: cut to it, then normalised again.

        Raises ContextLengthExceeded when a text is over the limit and `truncate` is false.
        """
        loop = asyncio.get_running_loop()
        small = sum(map(len, texts)) <= _SMALL_CHARS
        thread = self._small_thread if small else self._threads
        ids: list[TokenIds] = []
        truncated = 0
        step = len(texts) if small else _ENCODE_AT_ONCE
        for start in range(0, len(texts), step):  # in steps, so that a request whose client left stops here
            part = texts[start : start + step]
            encoded, cut = await loop.run_in_executor(thread, self._encode, part, prefix, truncate, start)
            ids += encoded
            truncated += cut
        return await self._embed_encoded(ids, dimension, thread, truncated)

    async def embed_ids(
        self, ids: Sequence[TokenIds], *, dimension: int | None = None, truncate: bool = True
    ) -> Embedded:
        """Embed token ids of this model's own tokenizer, exactly as given (an over-long row is cut as a text is).

        Raises InvalidRequest for ids outside the vocabulary and for rows without the model's special tokens: those are
        another tokenizer's, and their vectors would be wrong in silence.
        """
        checked = []
        truncated = 0
        _, after = self.tokenizer.special
        for i, row in enumerate(ids):
            self._check_own(i, row)
            if len(row) > self.max_tokens:
                self._overlong(i, len(row), truncate)
                truncated += 1
                row = np.concatenate([row[: self.max_tokens - len(after)], after])
            checked.append(row)
        small = sum(map(len, checked)) <= SMALL_TOKENS
        thread = self._small_thread if small else self._threads
        return await self._embed_encoded(checked, dimension, thread, truncated)

    def _check_own(self, index: int, row: TokenIds) -> None:
        """Raise InvalidRequest unless `row` can be of this model's tokenizer."""
        vocabulary = self.tokenizer.vocab_size
        if len(row) and (row.min() < 0 or row.max() >= vocabulary):
            raise InvalidRequest(
                f"input {index} has a token id outside the vocabulary of {self.name}; ids go from 0 to "
                f"{vocabulary - 1}. {_FOREIGN}",
                param="input",
            )
        before, after = self.tokenizer.special
        starts = np.array_equal(row[: len(before)], before)
        ends = np.array_equal(row[len(row) - len(after) :], after)
        if len(row) < len(before) + len(after) or not (starts and ends):
            raise InvalidRequest(
                f"input {index} does not begin and end with the special tokens of {self.name} "
                f"({before.tolist()} before, {after.tolist()} after the text). {_FOREIGN}",
                param="input",
            )

    def _encode(self, texts: Sequence[str], prefix: str, truncate: bool, offset: int) -> tuple[list[TokenIds], int]:
        """The ids of each text, and how many texts were cut."""
        encoded = self.tokenizer.encode([prefix + text for text in texts] if prefix else texts, self.max_tokens)
        cut = 0
        for i, one in enumerate(encoded):
            if one.length > self.max_tokens:
                self._overlong(offset + i, one.length, truncate)
                cut += 1
            if not len(one.ids):
                raise InvalidRequest(f"input {offset + i} gives no token for {self.name}", param="input")
        return [one.ids for one in encoded], cut

    def _overlong(self, index: int, length: int, truncate: bool) -> None:
        if not truncate:
            raise ContextLengthExceeded(
                f"input {index} has {length} tokens and {self.name} takes at most {self.max_tokens}: "
                'shorten it, or let it be cut with "truncate": true',
                param="input",
            )
        obs.TRUNCATED.inc()
        if not self._warned_overlong:
            self._warned_overlong = True
            log.warning(
                "a text of %d tokens was cut at %s's limit of %d; further ones are counted in "
                "embedserve_truncated_texts_total and not logged",
                length,
                self.name,
                self.max_tokens,
            )

    async def _embed_encoded(
        self, ids: list[TokenIds], dimension: int | None, thread: ThreadPoolExecutor, truncated: int
    ) -> Embedded:
        loop = asyncio.get_running_loop()
        unique, inverse, rows = await loop.run_in_executor(thread, self._look_up, ids)
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            small = sum(len(unique[i][1]) for i in missing) <= SMALL_TOKENS
            job = Job(loop, len(missing), self.backend.info.dimension, small=small)
            self.backlog.submit(job, [unique[i][0] for i in missing], [unique[i][1] for i in missing])
            computed = await self._wait(job)
            for i, row in zip(missing, computed, strict=True):
                rows[i] = row
        tokens = sum(map(len, ids))
        obs.TEXTS.inc(len(ids))
        obs.TOKENS.inc(tokens)
        vectors = await loop.run_in_executor(thread, _assemble, rows, inverse, dimension)
        return Embedded(vectors, tokens, truncated, cached=len(ids) - len(missing))

    async def _wait(self, job: Job) -> Vectors:
        try:
            return await job.future
        except asyncio.CancelledError:
            self.backlog.cancel(job)
            raise
        finally:
            obs.DROPPED.inc(self.backlog.dropped - self._dropped_seen)
            self._dropped_seen = self.backlog.dropped

    def _look_up(self, ids: list[TokenIds]) -> tuple[list[tuple[bytes, TokenIds]], list[int], list[Vectors | None]]:
        """Distinct (key, ids), for each input its index among them, and the cached rows."""
        space = self.cache.space if self.cache else b""
        index: dict[bytes, int] = {}
        inverse = []
        unique: list[tuple[bytes, TokenIds]] = []
        for text in ids:
            key = key_of(space, text)
            at = index.setdefault(key, len(unique))
            if at == len(unique):
                unique.append((key, text))
            inverse.append(at)
        if self.cache is None:
            return unique, inverse, [None] * len(unique)
        rows, in_memory, on_disk = self.cache.get_many([key for key, _ in unique])
        obs.CACHE_HITS.labels("memory").inc(in_memory)
        obs.CACHE_HITS.labels("disk").inc(on_disk)
        obs.CACHE_MISSES.inc(len(unique) - in_memory - on_disk)
        return unique, inverse, rows

    def _computed(self, items: list[Item], vectors: Vectors) -> None:
        if self.cache is not None and self.warm:  # the warm-up's ids are nobody's text
            self.cache.put_many([item.key for item in items], vectors)


def _assemble(rows: Sequence[Vectors | None], inverse: list[int], dimension: int | None) -> Vectors:
    """Rows in input order, cut to `dimension` and normalised again. Shape (n, dimension)."""
    unique = np.stack([row for row in rows if row is not None])
    if dimension is not None and dimension < unique.shape[1]:
        unique, _ = unit_rows(np.ascontiguousarray(unique[:, :dimension]))
    return unique if len(inverse) == len(unique) else unique[inverse]
