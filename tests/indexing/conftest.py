"""One embedded Qdrant for all tests here (or the server that QDRANT_URL names); async tests without a plugin."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator

import pytest
from qdrant_client import AsyncQdrantClient

from embedserve.indexing.qdrant import Qdrant
from support.processes import embedded_qdrant


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session")
def qdrant_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("QDRANT_URL")
    if given:
        yield given
        return
    with embedded_qdrant(tmp_path_factory.mktemp("qdrant")) as process:
        yield process.url


@pytest.fixture
def qdrant(qdrant_url: str) -> Qdrant:
    """Ours; its connections belong to the loop of one test."""
    return Qdrant(qdrant_url)


@pytest.fixture
def client(qdrant_url: str) -> AsyncQdrantClient:
    return AsyncQdrantClient(url=qdrant_url, timeout=60, check_compatibility=False)
