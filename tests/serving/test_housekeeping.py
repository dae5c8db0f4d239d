"""What operators see: waiting in /metrics and in the log, the idle clean-up, the memory diagnosis."""

import json
import logging
import time
import tracemalloc

import httpx
import pytest

from embedserve.serving import housekeeping
from support.live import fake_server


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(housekeeping, "_TICK", 0.05)
    monkeypatch.setattr(housekeeping, "_REPORT_EVERY", 0.3)


def metric(server, name):
    lines = httpx.get(server.url + "/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name + " ")))


def test_waiting_is_in_the_metrics_and_in_the_log(caplog):
    with caplog.at_level(logging.INFO), fake_server(semaphore_value=2) as server:
        server.backend.delay = 0.6  # long beside what a busy machine lets four requests lie apart
        body = {"input": ["x" * 20_000]}
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda i: server.post({**body, "user": str(i)}), range(4)))
        assert {a.status_code for a in answers} == {200}
        server.wait_for(lambda: "queue at most" in caplog.text)
        server.wait_for(lambda: metric(server, "embedserve_queue_deepest") >= 1)
        assert metric(server, "embedserve_queue_longest_seconds") > 0.1
        assert metric(server, "embedserve_gc_seconds_count") >= 4


def test_the_idle_cleanup_runs_once_after_the_last_inference(monkeypatch):
    monkeypatch.setattr(housekeeping, "_IDLE", 0.2)
    with fake_server() as server:
        released = []
        server.backend.release_memory = lambda: released.append(1)
        server.post({"input": "x"})
        server.wait_for(lambda: released)
        time.sleep(0.6)  # on a busy machine the first one was the warm-up's, and the request has its own
        count = len(released)
        for _ in range(2):
            time.sleep(0.6)  # a dozen ticks
            assert len(released) == count
            server.post({"input": f"y{count}"})
            count += 1
            server.wait_for(lambda: len(released) == count)  # noqa: B023


def test_tracemalloc_logs_the_largest_growers(caplog, monkeypatch):
    monkeypatch.setattr(housekeeping, "_SNAPSHOT_EVERY", 0.2)
    try:
        with caplog.at_level(logging.INFO), fake_server(tracemalloc=True) as server:
            server.wait_for(lambda: "tracemalloc: " in caplog.text, 30)
    finally:
        tracemalloc.stop()


def test_a_large_body_within_the_limit_is_taken():
    """FastAPI and starlette have body limits of their own: none may be under ours."""
    with fake_server() as server:
        text = "x" * 1_000_000
        body = json.dumps({"input": [text + str(i) for i in range(20)]})
        answer = httpx.post(
            server.url + "/v1/embeddings", content=body, headers={"content-type": "application/json"}, timeout=60
        )
        assert answer.status_code == 200
        assert answer.json()["usage"]["prompt_tokens"] == 20 * 512


def test_a_collection_looks_at_no_frozen_object(monkeypatch):
    """gc.get_freeze_count() counts them one by one: 9 ms on the event loop for each request."""
    with fake_server() as server:
        monkeypatch.setattr("gc.get_freeze_count", lambda: pytest.fail("counts every frozen object"))
        before = metric(server, "embedserve_gc_seconds_count")
        assert server.post({"input": "x"}).status_code == 200
        server.wait_for(lambda: metric(server, "embedserve_gc_seconds_count") == before + 1)
