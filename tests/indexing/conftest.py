"""Async tests run without a plugin; each test has a client of a Qdrant of its own."""

from __future__ import annotations

import asyncio
import inspect
import os

import pytest
from qdrant_client import AsyncQdrantClient


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run `async def` tests without a plugin."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def client() -> AsyncQdrantClient:
    return AsyncQdrantClient(url=os.environ["QDRANT_URL"])
