"""The status page: what it serves to whom, and that its figures are those of the requests that were sent."""

from __future__ import annotations

import re
import shutil
import subprocess
import time

import httpx
import pytest

from embedserve.recent import Recent
from support.processes import Process

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def server():
    with Process(["serve"], "/ready", EMBEDDING_BACKEND="fake", EMBEDDING_CACHE="memory") as running:
        yield running.url


def until(url: str, wanted, **headers: str) -> dict:
    deadline = time.monotonic() + 20
    while True:
        figures = httpx.get(url + "/status.json", headers=headers).json()
        if wanted(figures) or time.monotonic() > deadline:
            return figures
        time.sleep(0.2)


def test_people_get_the_page_and_programs_the_small_json(server):
    page = httpx.get(server, headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>embedserve</title>" in page.text
    assert httpx.get(server).json()["service"] == "embedserve"


def test_the_page_loads_nothing_from_elsewhere_and_its_policy_allows_only_its_own_script(server):
    page = httpx.get(server, headers={"accept": "text/html"})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    fetched = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]+)"', page.text)
    assert all(address.startswith("data:") for address in fetched)
    assert not re.search(r'\sstyle="|\son\w+="', page.text)  # the policy would drop them


def test_requests_errors_and_clients_show_with_their_figures(server):
    before = httpx.get(server + "/status.json").json()["totals"]
    for _ in range(3):
        httpx.post(server + "/v1/embeddings", json={"input": ["a", "b"]}, headers={"user-agent": "roo-code/1"})
    for _ in range(2):
        httpx.post(server + "/v1/embeddings", json={"input": ["a"], "model": "gpt"})
    # A row's errors may be the start's: /ready was asked before the server was.
    figures = until(server, lambda f: any(row["texts"] for row in f["rows"]))
    assert figures["totals"]["texts"] - before["texts"] == 6
    assert sum(row["texts"] for row in figures["rows"]) > 0
    assert max(row["p95"] or 0 for row in figures["rows"]) > 0
    [error] = [e for e in figures["errors"] if e["status"] == 404]
    assert (error["path"], error["count"]) == ("POST /v1/embeddings", 2)
    assert "'gpt' is not served here" in error["reason"]
    [client] = [c for c in figures["clients"] if c["name"] == "roo-code/1"]
    assert client["requests"] == 3
    assert figures["served"][0]["id"] == "fake"


def test_the_page_is_open_and_its_figures_need_the_key():
    with Process(["serve"], "/ready", EMBEDDING_BACKEND="fake", EMBEDDING_API_KEY="k") as running:
        assert httpx.get(running.url, headers={"accept": "text/html"}).status_code == 200
        assert httpx.get(running.url + "/status.json").status_code == 401
        assert httpx.get(running.url + "/status.json", headers={"authorization": "Bearer k"}).json()["key_needed"]


def test_a_moved_qdrant_is_where_the_settings_for_clients_say():
    with Process(["serve"], "/ready", EMBEDDING_BACKEND="fake", QDRANT_PORT="7333") as running:
        assert httpx.get(running.url + "/status.json").json()["qdrant_url"] == "http://127.0.0.1:7333"


def test_what_is_kept_is_bounded():
    recent = Recent()
    for i in range(500):
        recent.refused(f"GET /{i}", 404, "no", "id")
        recent.answered(f"client {i}", 0.1)
        recent.embedded(f"client {i}", 60)
    assert len(recent.refusals()) == len(recent.clients()) == 50
    assert recent.refusals()[0]["path"] == "GET /499"
    assert [job["client"] for job in recent.jobs()] == [f"client {i}" for i in range(499, 479, -1)]


def test_a_job_ends_after_a_minute_without_a_request_and_the_next_is_another(monkeypatch):
    recent, now = Recent(), 1000.0
    monkeypatch.setattr("embedserve.recent.time.time", lambda: now)
    for later, texts in ((0, 60), (50, 60), (5, 1), (70, 8)):
        now += later
        recent.embedded("roo", texts)
    assert [(job["texts"], job["running"]) for job in recent.jobs()] == [(8, True), (120, False)]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_real_browser_the_page_shows_what_is_served(server, tmp_path):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path}", "--virtual-time-budget=4000", "--dump-dom", server]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=90).stdout
    assert re.search(r'id="state"[^>]*>ready<', dom), dom[-2000:]
    assert "fake · 8 dimensions" in dom
    assert f"{server}/v1" in dom  # the settings are filled in for this server
