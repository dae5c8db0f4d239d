"""One served model: texts or token ids in, unit vectors and exact token counts out.

One step does all that a request needs before it is computed: tokenise, look in the cache, put the rest into the
backlog. A short text's step is on the event loop, unless the disk was slow lately; others hop to a thread. Small
requests have a thread of their own, so that a search never waits behind a scan's megabytes; large ones are tokenised
in steps. Cancelling `embed` drops the request's texts.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from embedserve import observability as obs
from embedserve.backends.base import Backend, TokenIds, Vectors
from embedserve.engine.backlog import Backlog, Item, Job
from embedserve.engine.cache import READ_WAIT, EmbeddingCache, key_of
from embedserve.engine.crew import Crew
from embedserve.engine.encoder import Encoder, Ids, Tokenizer
from embedserve.engine.memory import MemoryGovernor
from embedserve.engine.recall import Recall
from embedserve.engine.small import are_inline_hashed, are_inline_texts, are_small_ids, are_small_texts
from embedserve.engine.worker import unit_rows
from embedserve.errors import InvalidRequest, NotReady

log = logging.getLogger(__name__)

_ENCODE_AT_ONCE = 256
_SLOW_STEP = 0.02  # seconds on the event loop: a slow disk, or a tokenizer's unlucky text
_SLOW_FOR = 30.0  # seconds without steps on the event loop after slow ones
_SLOW_COUNT = 24  # a slow step counts 8, a quick one takes 1 away: one pause of a busy machine is no slow disk
_ASSEMBLE_INLINE = 32 * 1024  # floats of an answer that are put together on the event loop
_PATIENCE = 30.0  # seconds for the running batches, at close


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


@dataclass
class _Request:
    """One call of `embed` on its way. digests: of its texts, for `Recall`; empty where it has none. `job` is set once
    its missing texts are in the backlog."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Vectors]
    digests: Sequence[bytes]
    job: Job | None = None
    cancelled: bool = False


@dataclass(frozen=True)
class _Found:
    """rows: the distinct texts' vectors, None where they must be computed. inverse: for each input its row."""

    rows: list[Vectors | None]
    inverse: list[int]
    tokens: int
    truncated: int
    cached: int


class Engine:
    """Owns the backend's workers. Use `await start()`, `await embed(...)`, `await close()` on one event loop.

    scores: the model is a cross-encoder, whose rows are scores of pairs and stay as they are: `score`, not `embed`.
    pool_prompt: a prompt's tokens are pooled with the text's (sentence-transformers' `include_prompt`).
    centred: a vector that is cut first loses its mean (ModelSpec.centred).
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        tokenizer: Tokenizer,
        max_tokens: int,
        governor: MemoryGovernor,
        cache: EmbeddingCache | None = None,
        *,
        scores: bool = False,
        pool_prompt: bool = True,
        centred: bool = False,
    ) -> None:
        self.name, self.backend, self.tokenizer, self.max_tokens = name, backend, tokenizer, max_tokens
        self.governor, self.cache = governor, cache
        self.scores, self.centred = scores, centred
        self.encoder = Encoder(name, tokenizer, max_tokens, pool_prompt=pool_prompt)
        self._recall = Recall(cache.memory) if cache is not None else None
        self.backlog = Backlog()
        self.crew = Crew(name, backend, self.backlog, governor, tokenizer.vocab_size, self._computed, unit=not scores)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tokenise")
        self._small_thread = ThreadPoolExecutor(1, thread_name_prefix="tokenise-small")
        self._dropped_seen = 0
        self._slow_until = 0.0
        self._slowness = 0
        self.warm = False

    async def start(self) -> None:
        """Start the workers and warm each stream; ready afterwards."""
        start = time.monotonic()
        await self.crew.start()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._small_thread, self.tokenizer.encode, ["def warm_up(): pass"], self.max_tokens)
        self.warm = True
        log.info("%s is warm after %.2f s", self.name, time.monotonic() - start)

    async def close(self) -> None:
        """Fail what waits, stop the workers, free the model."""
        self.backlog.close(NotReady("the server is shutting down"))
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._small_thread.shutdown(wait=False, cancel_futures=True)
        if await self.crew.close(_PATIENCE):
            await asyncio.to_thread(self.backend.close)  # it may wait for a library

    @property
    def problem(self) -> str:
        """Why this model is not ready; empty when it is."""
        if not self.warm:
            return "the model is not warm yet"
        return str(self.backlog.closed) if self.backlog.closed else self.crew.health.problem

    @property
    def idle_since(self) -> float:
        """time.monotonic() of the last inference."""
        return self.crew.last_used

    async def embed(
        self, texts: Sequence[str], *, prefix: str = "", dimension: int | None = None, truncate: bool = True
    ) -> Embedded:
        """Embed texts (each with `prefix` in front). `dimension`: cut to it, then normalised again.

        Raises ContextLengthExceeded when a text is over the limit and `truncate` is false, InvalidRequest where the
        model is a cross-encoder.
        """
        self._refuse_unless(scores=False)
        digests = await self._digests(texts, prefix)
        if digests and (known := self._recalled(digests, dimension, truncate)) is not None:
            return known
        small = are_small_texts(texts)
        if small:
            inline = are_inline_texts([prefix, *texts])
            encode = functools.partial(self.encoder.texts, texts, prefix, truncate)
            return await self._embed(encode, dimension, small, inline, digests)
        loop = asyncio.get_running_loop()
        encoded = Ids([], [])
        for start in range(0, len(texts), _ENCODE_AT_ONCE):  # in steps: one whose client left stops here
            part = texts[start : start + _ENCODE_AT_ONCE]
            encoded += await loop.run_in_executor(self._threads, self.encoder.texts, part, prefix, truncate, start)
        return await self._embed(lambda: encoded, dimension, small, digests=digests)

    async def embed_ids(
        self, ids: Sequence[TokenIds], *, dimension: int | None = None, truncate: bool = True
    ) -> Embedded:
        """Embed token ids of this model's own tokenizer, exactly as given (an over-long row is cut as a text is).

        Raises InvalidRequest for ids outside the vocabulary and for rows without the model's special tokens: those are
        another tokenizer's, and their vectors would be wrong in silence.
        """
        self._refuse_unless(scores=False)
        checked = self.encoder.own(ids, truncate)
        return await self._embed(lambda: checked, dimension, are_small_ids(checked.ids))

    async def score(self, query: str, documents: Sequence[str], *, truncate: bool = True) -> Embedded:
        """Score `query` with each document. Its `vectors` are (n, labels) float32 as the model's activation gives
        them: not normalised, one column for most rerankers, higher is better.

        Raises ContextLengthExceeded when a pair is over the limit and `truncate` is false (its longer text is cut
        first), InvalidRequest where the model is no cross-encoder.
        """
        self._refuse_unless(scores=True)
        texts = [text for document in documents for text in (query, document)]
        if are_small_texts(texts):
            return await self._embed(lambda: self.encoder.pairs(query, documents, truncate), None, True)
        loop = asyncio.get_running_loop()
        encoded = Ids([], [])
        for start in range(0, len(documents), _ENCODE_AT_ONCE):
            part = documents[start : start + _ENCODE_AT_ONCE]
            encoded += await loop.run_in_executor(self._threads, self.encoder.pairs, query, part, truncate, start)
        return await self._embed(lambda: encoded, None, False)

    async def _digests(self, texts: Sequence[str], prefix: str) -> list[bytes]:
        if self._recall is None:
            return []
        if are_inline_hashed(texts):
            return self._recall.digests(texts, prefix)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._recall.digests, texts, prefix)

    def _recalled(self, digests: list[bytes], dimension: int | None, truncate: bool) -> Embedded | None:
        """The answer without tokenising, where the cache's memory has every text of it."""
        assert self._recall is not None
        known = self._recall.find(digests, cut=truncate)
        if known is None:
            return None
        count = len(known.rows)
        obs.TRUNCATED.inc(known.cut)
        obs.CACHE_HITS.labels("memory").inc(count)
        obs.TEXTS.inc(count)
        obs.TOKENS.inc(known.tokens)
        return Embedded(_assemble(known.rows, range(count), dimension, self.centred), known.tokens, known.cut, count)

    async def _embed(
        self,
        encode: Callable[[], Ids],
        dimension: int | None,
        small: bool,
        inline: bool = False,
        digests: Sequence[bytes] = (),
    ) -> Embedded:
        loop = asyncio.get_running_loop()
        request = _Request(loop, loop.create_future(), digests)
        thread = self._small_thread if small else self._threads
        try:
            if inline and time.monotonic() >= self._slow_until and self.backlog.closed is None:
                found = self._begin_inline(request, encode)
            else:
                found = await loop.run_in_executor(thread, self._begin, request, encode)
            if request.job is not None:
                computed = iter(await request.future)
                rows = [next(computed) if row is None else row for row in found.rows]
            else:
                rows = [row for row in found.rows if row is not None]
        except asyncio.CancelledError:
            request.cancelled = True
            if request.job is not None:
                self.backlog.cancel(request.job)
            raise
        except RuntimeError as error:
            if self.backlog.closed is None:
                raise
            raise NotReady("the model is closed") from error  # the pool is shut down
        finally:
            obs.DROPPED.inc(self.backlog.dropped - self._dropped_seen)
            self._dropped_seen = self.backlog.dropped
        obs.TEXTS.inc(len(found.inverse))
        obs.TOKENS.inc(found.tokens)
        if len(found.inverse) * self.backend.info.dimension <= _ASSEMBLE_INLINE:
            vectors = _assemble(rows, found.inverse, dimension, self.centred)
        else:
            vectors = await loop.run_in_executor(thread, _assemble, rows, found.inverse, dimension, self.centred)
        return Embedded(vectors, found.tokens, found.truncated, found.cached)

    def _begin_inline(self, request: _Request, encode: Callable[[], Ids]) -> _Found:
        """`_begin` on the event loop. It waits for no other process's lock on the cache."""
        start = time.monotonic()
        found = self._begin(request, encode, wait=0.0)
        end = time.monotonic()
        self._slowness = self._slowness + 8 if end - start > _SLOW_STEP else max(self._slowness - 1, 0)
        if self._slowness >= _SLOW_COUNT:
            self._slow_until, self._slowness = end + _SLOW_FOR, 0
        return found

    def _begin(self, request: _Request, encode: Callable[[], Ids], wait: float = READ_WAIT) -> _Found:
        """Tokenise, look up, submit what is missing."""
        encoded = encode()
        ids = encoded.ids
        space = self.cache.space if self.cache else b""
        index: dict[bytes, int] = {}
        inverse = []
        unique: list[TokenIds] = []
        for text in ids:
            at = index.setdefault(key_of(space, text), len(unique))
            if at == len(unique):
                unique.append(text)
            inverse.append(at)
        keys = list(index)
        if self._recall is not None and request.digests:
            self._recall.note(request.digests, [keys[at] for at in inverse], [len(text) for text in ids], encoded.cut)
        rows = self._look_up(keys, wait)
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing and not request.cancelled:
            wanted = [unique[i] for i in missing]
            dimension = self.backend.info.dimension
            job = Job(request.loop, len(wanted), dimension, small=are_small_ids(wanted), future=request.future)
            request.job = job
            self.backlog.submit(job, [keys[i] for i in missing], wanted)
            if request.cancelled:  # meanwhile
                self.backlog.cancel(job)
        return _Found(rows, inverse, sum(map(len, ids)), sum(encoded.cut), len(ids) - len(missing))

    def _look_up(self, keys: list[bytes], wait: float) -> list[Vectors | None]:
        if self.cache is None:
            return [None] * len(keys)
        rows, in_memory, on_disk = self.cache.get_many(keys, wait)
        obs.CACHE_HITS.labels("memory").inc(in_memory)
        obs.CACHE_HITS.labels("disk").inc(on_disk)
        obs.CACHE_MISSES.inc(len(keys) - in_memory - on_disk)
        return rows

    def _refuse_unless(self, *, scores: bool) -> None:
        if self.scores and not scores:
            raise InvalidRequest(
                f"{self.name} is a cross-encoder: it scores pairs of texts (rerank) and gives no embedding",
                param="model",
            )
        if scores and not self.scores:
            raise InvalidRequest(f"{self.name} gives embeddings and does not score pairs of texts", param="model")

    def _computed(self, items: list[Item], vectors: Vectors) -> None:
        if self.cache is None:
            return
        try:
            self.cache.put_many([item.key for item in items], vectors)
        except Exception as error:  # a cache may forget: the vectors are there and are answered
            log.warning("vectors were not cached: %s", type(error).__name__)


def _assemble(rows: Sequence[Vectors], inverse: Sequence[int], dimension: int | None, centred: bool) -> Vectors:
    """Rows in input order, cut to `dimension` and normalised again. Shape (n, dimension)."""
    unique = np.stack(rows)
    if dimension is not None and dimension < unique.shape[1]:
        kept = unique[:, :dimension] - (unique.mean(axis=1, keepdims=True) if centred else 0)
        unique, sound = unit_rows(np.ascontiguousarray(kept))
        if not sound.all():
            at = inverse.index(int(np.flatnonzero(~sound)[0]))
            raise InvalidRequest(
                f"input {at} has a vector whose first {dimension} components are all zero: it cannot be cut to them; "
                "ask for all dimensions",
                param="dimensions",
            )
    return unique if len(inverse) == len(unique) else unique[inverse]
