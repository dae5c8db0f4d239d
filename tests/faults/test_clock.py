"""The clock is set while the service runs: nothing waits, expires or repeats because of it."""

import ast
import time
from pathlib import Path

import httpx
import pytest

from embedserve.recent import STEP, Recent
from support.live import fake_server

PACKAGE = Path(__file__).parents[2] / "embeddings" / "embedserve"
SERVERS = ("api", "engine", "serving", "web", "vectordb", "backends", "machine")
# Where a date is meant that people or other programs read.
DATES = {
    "api/routes/status_page.py",
    "api/routes/ollama.py",
    "serving/runtime.py",
    "vectordb/snapshot_handlers.py",
}


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_is_set_changes_no_answer_and_no_uptime(jump, monkeypatch):
    with fake_server(queue_timeout=5.0, body_timeout=5.0) as server:
        server.backend.delay = 0.3
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + jump)
        assert server.post({"input": "abc"}).status_code == 200
        health = httpx.get(server.url + "/health").json()
        assert health["status"] == "healthy"
        assert 0 <= health["uptime_seconds"] < 60
        assert httpx.get(server.url + "/ready").status_code == 200
        assert httpx.get(server.url + "/").status_code == 200


def test_durations_and_deadlines_never_ask_the_wall_clock():
    """time.monotonic() is for them."""
    asking = set()
    for path in (path for room in SERVERS for path in (PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and f"{ast.unparse(node.value)}.{node.attr}" in (
                "time.time",
                "datetime.now",
                "datetime.datetime.now",
            ):
                asking.add(str(path.relative_to(PACKAGE)))
    assert asking <= DATES, "a duration? if a date is meant, add the file to DATES"


def test_the_status_pages_rows_go_on_when_the_clock_is_set_back(monkeypatch):
    """Regression: set back by a day, there was no row for a day."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    recent = Recent()
    monkeypatch.setattr(time, "time", lambda: -86_400.0)
    for _ in range(3):
        now[0] += STEP
        recent.tick(waiting=0, active=0, rss=0)
    assert len(recent.rows) == 3
