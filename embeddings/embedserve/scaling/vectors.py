"""The actors of a bulk run: one model process each, the engine in it without HTTP.

Their cache on disk (EMBEDDING_HOME) is keyed by content, so that a text which any repository has is embedded once a
machine. Machines share what the collection has: in a shared one, a text of any repository is looked for by its digest
first. Both are only asked with the text itself: nothing of a text is had from them by who does not have the text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np

from embedserve.errors import SetupError
from embedserve.indexing.pipeline import groups_of
from embedserve.indexing.qdrant import Qdrant
from embedserve.scaling.work import POINTS_AT_ONCE, Bulk, Work, rows_of, works_of
from embedserve.serving.runtime import Runtime
from embedserve.settings import load_settings

T = TypeVar("T")


class Engine:
    """The service's own runtime in this process, driven step by step."""

    def __init__(self, bulk: Bulk) -> None:
        given: dict[str, Any] = {"model": bulk.model, "threads": bulk.threads, "rerank_model": ""}
        if bulk.home:
            given["home"] = bulk.home
        settings = load_settings(**given)
        self._loop = asyncio.new_event_loop()
        self.runtime = Runtime(settings)
        self._loop.run_until_complete(self.runtime.load())
        if self.runtime.failure is not None:
            raise SetupError(self.runtime.failure.message)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives, in the loop of the runtime."""
        return self._loop.run_until_complete(coroutine)

    def embed(self, texts: list[str]) -> tuple[Any, int]:
        """Unit rows, and how many of them were computed now."""
        return self.run(self._embed(texts))

    async def _embed(self, texts: list[str]) -> tuple[Any, int]:
        async with self.runtime.use(None) as model:
            result = await model.engine.embed(texts)
        return result.vectors, len(texts) - result.cached

    def close(self) -> None:
        self._loop.run_until_complete(self.runtime.close())


def model_of(bulk: Bulk) -> tuple[str, int, int]:
    """Id, dimension and window of the model; a load that fails says why before anything is begun."""
    engine = Engine(bulk)
    spec = engine.runtime.entries[0].model
    engine.close()
    return spec.id, spec.dimension, spec.max_tokens


class Actor:
    """One model process."""

    bulk: Bulk

    def __init__(self) -> None:
        self._engine = Engine(self.bulk)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        works = works_of(batch)
        chunks = [chunk for work in works for chunk in work.chunks]
        if not chunks:
            return rows_of(works)
        had = self._engine.run(_had(works, self.bulk)) if self.bulk.collection else {}
        texts = list(dict.fromkeys(chunk.embedded_text for chunk in chunks if chunk.digest not in had))
        began = time.perf_counter()
        vectors, computed = self._engine.embed(texts) if texts else ((), 0)
        seconds = time.perf_counter() - began
        at = dict(zip(texts, vectors, strict=True))
        for work in works:
            new = [chunk for chunk in work.chunks if chunk.digest not in had]
            found = [had[c.digest] if c.digest in had else at[c.embedded_text] for c in work.chunks]
            work.vectors = np.asarray(found, dtype=np.float32)
            work.reused = len(work.chunks) - len(new)
            work.embedded = round(computed / max(1, len(texts)) * len(new))
            work.seconds = seconds * len(work.chunks) / len(chunks)
        return rows_of(works)


async def _had(works: list[Work], bulk: Bulk) -> dict[str, list[float]]:
    """Digest -> the vector of a text that some repository of the shared collection has."""
    client = Qdrant(bulk.qdrant_url, bulk.qdrant_api_key)
    try:
        store = await bulk.store(client, works[0].workspace)
        digests = dict.fromkeys(chunk.digest for work in works for chunk in work.chunks)
        return {k: v for some in groups_of(digests, POINTS_AT_ONCE) for k, v in (await store.known(some)).items()}
    finally:
        await client.close()
