"""When garbage is collected: after the answer, once for a crowd of searches, at once after a large request."""

import asyncio
import gc
import time

import pytest

from embedserve.api import collector
from embedserve.api.collector import GcMiddleware
from embedserve.api.declare import EMBEDS, Declared, note
from embedserve.engine.garbage import Collections


@pytest.fixture(autouse=True)
def unused_collections(monkeypatch):
    monkeypatch.setattr(collector, "COLLECTIONS", Collections())


async def app(_scope, _receive, _send):
    """Answers at once."""


async def answered(middleware, small):
    scope = {"type": "http", "state": {"small": small}}
    note(scope, Declared("/v1/embeddings", EMBEDS))
    await middleware(scope, None, None)


def test_searches_share_one_collection_and_a_large_request_has_its_own(monkeypatch):
    collections = []
    monkeypatch.setattr(gc, "collect", lambda _generation: collections.append(1))
    monkeypatch.setattr(collector, "_SHARED_AFTER", 0.02)

    async def body():
        middleware = GcMiddleware(app, frozen=lambda: True)
        for _ in range(50):
            await answered(middleware, small=True)
        assert not collections  # never between a request and its answer
        await asyncio.sleep(0.1)
        assert len(collections) == 1
        await answered(middleware, small=True)
        await answered(middleware, small=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert len(collections) == 2  # the large one's was the small one's too

    asyncio.run(body())


def test_where_a_collection_is_expensive_large_requests_share_one_too(monkeypatch):
    def expensive(_generation):
        collections.append(1)
        end = time.thread_time() + 0.004  # the next is due in 0.2 s
        while time.thread_time() < end:
            pass

    collections = []
    monkeypatch.setattr(gc, "collect", expensive)

    async def body():
        middleware = GcMiddleware(app, frozen=lambda: True)
        for _ in range(20):
            await answered(middleware, small=False)
            await asyncio.sleep(0)
        assert len(collections) == 1
        await asyncio.sleep(0.3)
        assert len(collections) == 2

    asyncio.run(body())
