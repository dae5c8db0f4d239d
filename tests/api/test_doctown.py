"""The worker's five variables mean what they meant there: each has a test that fails when it is ignored."""

import gc
import json
import subprocess
import sys
from types import SimpleNamespace

import httpx
import psutil
import pytest

from embedserve.engine import memory
from embedserve.engine.garbage import YOUNG, Collections
from embedserve.settings import load_settings
from support.live import fake_server
from support.processes import clean_environment, free_port

LIMIT = 1 << 30


@pytest.fixture(autouse=True)
def at_every_batch(monkeypatch):
    """Memory is looked at between micro-batches, at most four times a second: here each time."""
    monkeypatch.setattr(memory, "_LOOK_EVERY", 0.0)


def worker(**variables):
    """A server whose settings come from EMBEDDING_* variables; `rss` is pretended, 10 MB at first."""
    given = load_settings({f"EMBEDDING_{name}": value for name, value in variables.items()})
    return fake_server(**given.model_dump(exclude_unset=True), memory_limit=LIMIT)


def send(server, count=100):
    chunks = [{"chunk_id": str(i), "content": f"chunk {i:04}"} for i in range(count)]
    answer = httpx.post(server.url + "/embed", json={"batch_id": "b", "chunks": chunks}, timeout=60)
    assert [one["chunk_id"] for one in answer.json()["vectors"]] == [str(i) for i in range(count)]


def sizes_with(server, share):
    """The sizes of the last micro-batches of a request while `share` of the memory is in use."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(psutil.Process, "memory_info", lambda _self: SimpleNamespace(rss=int(share * LIMIT)))
        send(server)
        send(server)
        server.backend.batches.clear()
        send(server)
    return [len(lengths) for lengths in server.backend.batches]


def test_the_defaults_are_the_workers():
    settings = load_settings({})
    assert settings.min_batch_size == 8
    assert settings.max_batch_size == 64
    assert settings.max_memory_percent == 70.0
    assert settings.adaptive_batching is True
    assert settings.onnx_threads == 8


@pytest.mark.parametrize("most", ["4", "16"])
def test_max_batch_size_bounds_every_micro_batch(most):
    with worker(MAX_BATCH_SIZE=most, MIN_BATCH_SIZE="2") as server:
        assert max(sizes_with(server, 0.01)) == int(most)


@pytest.mark.parametrize(("most", "reached"), [("", 32), ("48", 48), ("64", 64)])
def test_an_explicit_max_batch_size_is_taken_where_the_backend_advises_less(most, reached):
    with worker(MAX_BATCH_SIZE=most) as server:
        assert server.backend.info.best_batch_texts == 32
        assert max(sizes_with(server, 0.01)) == reached


@pytest.mark.parametrize("least", ["3", "8"])
def test_min_batch_size_is_where_the_adaptive_size_ends_when_memory_is_short(least):
    with worker(MIN_BATCH_SIZE=least) as server:
        server.backend.activation_bytes = lambda count, length: 0  # the other bound: what fits
        assert max(sizes_with(server, 0.9)) == int(least)
        assert max(sizes_with(server, 0.01)) > int(least)  # and it rises again


@pytest.mark.parametrize(("percent", "falls"), [("50", True), ("70.0", False)])
def test_max_memory_percent_is_the_share_of_memory_over_which_the_size_falls(percent, falls):
    with worker(MAX_MEMORY_PERCENT=percent) as server:
        server.backend.activation_bytes = lambda count, length: 0
        assert (max(sizes_with(server, 0.6)) == 8) == falls


@pytest.mark.parametrize(("adaptive", "falls"), [("true", True), ("false", False)])
def test_without_adaptive_batching_the_size_stays(adaptive, falls):
    with worker(ADAPTIVE_BATCHING=adaptive) as server:
        server.backend.activation_bytes = lambda count, length: 0
        assert (max(sizes_with(server, 0.9)) == 8) == falls


@pytest.mark.parametrize(("given", "threads"), [("1", 1), ("3", 3), ("16", 8)])
def test_onnx_threads_are_those_of_the_session_and_at_most_8(given, threads, tmp_path_factory):
    pytest.importorskip("onnxruntime")
    from embedserve.serving.loading import load

    home = tmp_path_factory.getbasetemp() / "onnx-home"  # converted once
    settings = load_settings(
        {"EMBEDDING_ONNX_THREADS": given, "EMBEDDING_THREADS": "16", "EMBEDDING_HOME": str(home)}, backend="onnx"
    )
    backend = load("all-MiniLM-L6-v2", settings).backend
    assert backend.info.threads == threads
    options = backend._session.get_session_options()
    assert options.intra_op_num_threads == threads
    assert options.execution_mode.name == "ORT_SEQUENTIAL"
    assert backend._session.get_providers() == ["CPUExecutionProvider"]
    backend.close()


def test_garbage_is_collected_every_ten_micro_batches(monkeypatch):
    with worker(MIN_BATCH_SIZE="1", MAX_BATCH_SIZE="1") as server:
        collected = []
        monkeypatch.setattr(memory, "COLLECTIONS", Collections())  # that of the process may have its pause
        monkeypatch.setattr(gc, "collect", collected.append)
        send(server, 50)
        server.wait_for(lambda: collected.count(YOUNG) >= 5)


def test_batches_are_logged_as_json_when_asked_for_and_the_documented_line_starts_the_worker(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "embedserve.cli", "serve", "--model", "fake", "--backend", "fake"]
    env = clean_environment(EMBEDDING_HOME=str(tmp_path), EMBEDDING_LOG_FORMAT="json")
    process = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True, env=env)
    try:
        for line in process.stderr:
            if "serving fake" in line:
                break
        chunks = [{"chunk_id": "one", "content": "a"}, {"chunk_id": "two", "content": ""}]
        body = {"batch_id": "b-7", "chunks": chunks}
        answer = httpx.post(f"http://127.0.0.1:{port}/embed", json=body, timeout=30)
        assert [one["chunk_id"] for one in answer.json()["vectors"]] == ["one", "two"]
        events = {}
        for line in process.stderr:
            entry = json.loads(line)
            events[entry.get("event")] = entry
            if "batch_completed" in events:
                break
    finally:
        process.kill()
        process.wait()
    started, completed = events["batch_started"], events["batch_completed"]
    assert (started["batch"], started["chunks"], completed["batch"], completed["chunks"]) == ("b-7", 2, "b-7", 2)
    assert completed["seconds"] >= 0
