"""What Ray is told of a replica, without Ray."""

import asyncio
import subprocess
import sys

import pytest

from embedserve.scaling.replica import Replica


def test_a_model_that_cannot_be_loaded_fails_the_constructor_with_our_message(monkeypatch, tmp_path):
    monkeypatch.setenv("EMBEDDING_CACHE", "off")
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path))

    async def load():
        replica = Replica.__new__(Replica)
        await Replica.__init__(replica, "/no/such/folder", 1, "")

    with pytest.raises(RuntimeError, match="/no/such/folder"):
        asyncio.run(load())


def test_a_loaded_replica_is_healthy_and_a_draining_one_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("EMBEDDING_CACHE", "off")
    monkeypatch.setenv("EMBEDDING_BACKEND", "fake")
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path))

    async def look():
        replica = Replica.__new__(Replica)
        await Replica.__init__(replica, "any", 1, "")
        await replica.check_health()
        replica.runtime.draining = True
        with pytest.raises(RuntimeError, match="shutting down"):
            await replica.check_health()
        await replica.runtime.close()

    asyncio.run(look())


def test_a_plain_serve_imports_no_ray():
    code = "import sys, embedserve.api.server; assert not {'ray', 'embedserve.scaling'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
