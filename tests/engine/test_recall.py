"""A request that the cache has whole is answered without tokenising, and says the same."""

import asyncio

import numpy as np
import pytest

from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.engine.cache import EmbeddingCache, MemoryCache
from embedserve.engine.engine import Engine
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import ContextLengthExceeded

TEXTS = ["a", "bb", "a", "x" * 40, "lone \ud800 surrogate"]


class Counting(FakeTokenizer):
    calls = 0

    def encode(self, texts, max_tokens):
        self.calls += 1
        return super().encode([text.encode("utf-8", "replace").decode() for text in texts], max_tokens)


def with_engine(test, memory=1 << 20, **options):
    async def body():
        governor = MemoryGovernor(limit=1 << 30, percent=70, min_texts=1, max_texts=64, rss=lambda: 0)
        cache = EmbeddingCache(b"space", 8, MemoryCache(memory), None)
        engine = Engine("fake", FakeBackend(), Counting(), 16, governor, cache, **options)
        await engine.start()
        try:
            return await asyncio.wait_for(test(engine), 20)
        finally:
            await engine.close()

    return asyncio.run(body())


@pytest.mark.parametrize("dimension", [None, 4])
@pytest.mark.parametrize("prefix", ["", "query: "])
@pytest.mark.parametrize("pool_prompt", [True, False])
def test_the_second_answer_is_the_first_one_without_the_tokenizer(dimension, prefix, pool_prompt):
    async def test(engine):
        first = await engine.embed(TEXTS, prefix=prefix, dimension=dimension)
        calls = engine.tokenizer.calls
        second = await engine.embed(TEXTS, prefix=prefix, dimension=dimension)
        assert engine.tokenizer.calls == calls
        np.testing.assert_array_equal(first.vectors, second.vectors)
        assert (second.tokens, second.truncated, second.cached) == (first.tokens, first.truncated, len(TEXTS))
        other = await engine.embed(TEXTS, prefix="another: ", dimension=dimension)
        assert not np.array_equal(other.vectors, first.vectors)

    with_engine(test, pool_prompt=pool_prompt)


def test_an_over_long_text_that_is_known_is_still_refused_where_it_may_not_be_cut():
    async def test(engine):
        await engine.embed(TEXTS)
        with pytest.raises(ContextLengthExceeded, match="input 3"):
            await engine.embed(TEXTS, truncate=False)

    with_engine(test)


def test_what_the_cache_has_forgotten_is_computed_again():
    async def test(engine):
        first = await engine.embed(TEXTS)
        await engine.embed(["y", "z", "w"])  # room for three rows
        again = await engine.embed(TEXTS)
        np.testing.assert_array_equal(first.vectors, again.vectors)
        assert again.cached < len(TEXTS)

    with_engine(test, memory=3 * (32 + 120) + 1)


def test_the_memory_of_texts_is_bounded():
    async def test(engine):
        recall = engine._recall
        for i in range(recall.most + 50):
            await engine.embed([f"text {i}"])
        assert len(recall._known) == recall.most

    with_engine(test, memory=8 * 240 * 20)
