"""Who waits for whom: searches for nobody, and each failure is one request's and one log line."""

import asyncio
import re
import shutil
import threading
import time
from types import SimpleNamespace

import httpx
import orjson
import pytest
from starlette.testclient import TestClient

from embedserve.vectordb import big_json
from embedserve.vectordb import collection as collection_module
from embedserve.vectordb.app import BODIES, create_app
from embedserve.vectordb.queries import parse_query
from embedserve.vectordb.schema import parse_collection
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.threads import ShardPanic
from embedserve.vectordb.updates import parse_upsert
from embedserve.vectordb.vectors import Space
from vectordb.conftest import Embedded
from vectordb.watched import watched_edge

SPACE = Space({"": 2})
CONFIG = {"vectors": {"size": 2, "distance": "Dot"}}
POINTS = {"points": [{"id": 1, "vector": [1, 2], "payload": {"a": 1}}]}
JSON = {"content-type": "application/json"}


@pytest.fixture
def http(tmp_path):
    storage = Storage(tmp_path, quiet=3600.0)
    with TestClient(create_app(storage), base_url="http://localhost") as client:
        client.storage = storage
        assert client.put("/collections/a", json=CONFIG).status_code == 200
        assert client.put("/collections/a/points", json=POINTS).status_code == 200
        yield client


def test_a_search_does_not_wait_for_writers_whose_bodies_fill_every_slot(tmp_path):
    """Regression: 16 slots for all bodies; 16 slow writers stopped every search."""
    with Embedded(tmp_path / "s") as server, httpx.Client(base_url=server.url, timeout=10) as http:
        http.put("/collections/a", json=CONFIG)
        http.put("/collections/a/points", json=POINTS)
        stop = threading.Event()

        def slowly():
            yield b'{"points":['
            stop.wait(20)
            yield b"]}"

        def write():
            httpx.put(f"{server.url}/collections/a/points", content=slowly(), headers=JSON, timeout=30)

        writers = [threading.Thread(target=write) for _ in range(BODIES + 4)]
        for writer in writers:
            writer.start()
        time.sleep(0.5)
        try:
            found = http.post("/collections/a/points/query", json={"query": [1, 1]}, timeout=5).json()
            assert [point["id"] for point in found["result"]["points"]] == [1]
        finally:
            stop.set()
            for writer in writers:
                writer.join()


def test_a_search_does_not_wait_for_the_copy_of_an_index_build(tmp_path, monkeypatch):
    copying, go_on = threading.Event(), threading.Event()
    real = shutil.copytree

    def slow_copy(*args, **kwargs):
        copying.set()
        go_on.wait(20)
        return real(*args, **kwargs)

    async def scenario():
        storage = Storage(tmp_path, quiet=3600.0)
        await storage.open()
        await storage.create("a", parse_collection(CONFIG))
        collection = storage.get("a")
        await collection.apply([parse_upsert(POINTS, SPACE)])
        monkeypatch.setattr(collection_module.shutil, "copytree", slow_copy)
        build = asyncio.create_task(collection.build_index())
        await asyncio.to_thread(copying.wait, 20)
        writes = [asyncio.create_task(collection.apply([parse_upsert(POINTS, SPACE)])) for _ in range(20)]
        query = parse_query({"query": [1, 1]}, SPACE).request()
        async with asyncio.timeout(5):
            assert len(await collection.read(lambda shard: shard.query(query))) == 1
        assert not any(write.done() for write in writes)
        go_on.set()
        await asyncio.gather(build, *writes)
        await storage.close()

    asyncio.run(scenario())


class PanicException(BaseException):
    """As pyo3's, which no module exports: not an Exception."""


def test_a_panic_of_the_engine_is_the_error_of_that_request_alone(http, monkeypatch):
    panics = False

    def before(_name):
        if panics:
            raise PanicException("called `Option::unwrap()` on a `None` value")

    http.delete("/collections/a")
    monkeypatch.setattr(collection_module, "edge", watched_edge(before))
    http.put("/collections/a", json=CONFIG)
    panics = True
    for call, body in (("query", {"query": [1, 1]}), ("scroll", {}), ("count", {}), ("delete", {"points": [1]})):
        reply = http.post(f"/collections/a/points/{call}", json=body)
        assert reply.status_code == 500
        assert "panicked" in reply.json()["status"]["error"]
    assert http.put("/collections/a/points", json=POINTS).status_code == 500
    panics = False
    assert http.post("/collections/a/points/query", json={"query": [1, 1]}).status_code == 200
    assert http.put("/collections/a/points", json=POINTS).status_code == 200
    assert issubclass(ShardPanic, Exception)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("POST", "/collections/a/points/query", {"query": [1, 2, 3]}, 400, "expected dim: 2, got 3"),
        ("POST", "/collections/b/points/query", {"query": [1]}, 404, "doesn't exist"),
        ("PUT", "/collections/a", CONFIG, 409, "already exists"),
        ("PUT", "/collections/c", {"vectors": {"size": 0, "distance": "Dot"}}, 422, "invalid"),
        ("GET", "/nowhere%0a2026%20ERROR%20forged", None, 404, "no endpoint"),
        ("GET", "/telemetry", None, 501, "administration"),
    ],
)
def test_each_error_is_one_log_line_with_its_reason(http, caplog, method, path, body, status, reason):
    caplog.clear()
    with caplog.at_level("INFO", logger="embedserve.vectordb"):
        assert http.request(method, path, json=body).status_code == status
    # the test client's own lines (httpx at INFO, once another test has asked for logs) are not the server's
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("embedserve")]
    assert re.search(rf"{method} /.*: {status} ", line)
    assert reason in line
    assert "\n" not in line


def test_refusals_of_the_guards_are_logged_too(http, caplog):
    with caplog.at_level("INFO", logger="embedserve.vectordb"):
        assert http.get("/collections", headers={"origin": "https://evil.example"}).status_code == 403
    assert "403" in caplog.text


def test_a_large_body_is_read_and_written_off_the_event_loop_and_in_pieces(http, monkeypatch):
    """orjson holds the interpreter for a whole call, from any thread: 20 MB would be a fifth of a second."""
    dim, count = 256, 4000
    calls = []

    def noted(real, size):
        def call(value, **options):
            done = real(value, **options)
            calls.append((threading.current_thread().name, size(value, done)))
            return done

        return call

    points = [{"id": i, "vector": [i / 7 + j / 3 for j in range(dim)], "payload": {"n": i}} for i in range(count)]
    body = orjson.dumps({"points": points})
    assert http.put("/collections/b", json={"vectors": {"size": dim, "distance": "Dot"}}).status_code == 200
    pieces = SimpleNamespace(
        loads=noted(orjson.loads, lambda text, _: len(text)),
        dumps=noted(orjson.dumps, lambda _, text: len(text)),
        JSONDecodeError=orjson.JSONDecodeError,
    )
    monkeypatch.setattr(big_json, "orjson", pieces)
    assert http.put("/collections/b/points", content=body, headers=JSON).status_code == 200
    page = http.post("/collections/b/points/scroll", json={"limit": count, "with_vector": True}).json()["result"]
    assert len(page["points"]) == count
    assert page["points"][77]["vector"] == pytest.approx(points[77]["vector"], rel=1e-6)
    assert sum(size for _, size in calls) > len(body)
    assert max(size for _, size in calls) < 1_000_000
    assert all(name.startswith("qdrant-") for name, size in calls if size > 10_000)


def test_the_longest_block_of_the_event_loop_and_the_collections_are_in_its_metrics(http):
    lines = http.get("/metrics").text.splitlines()
    said = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert said['app_info{name="qdrant",version="1.20.0"}'] == "1"
    assert said["collections_total"] == "1"
    assert 0 <= float(said["embedserve_event_loop_blocked_max_seconds"]) < 60
