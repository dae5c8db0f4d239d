"""What a page of an allowed origin can do, and the Host check of paths that need no key."""

import httpx
import pytest

from embedserve.cli import main
from support.live import fake_server

ORIGIN = "https://app.example"


@pytest.mark.parametrize("key", [None, "s3cret"])
def test_a_page_of_an_allowed_origin_asks_first_calls_and_reads(key):
    with fake_server(allowed_origins=ORIGIN, api_key=key) as live:
        url = live.url + "/v1/embeddings"
        asked = {
            "origin": ORIGIN,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-stainless-os",
        }
        preflight = httpx.options(url, headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == ORIGIN
        assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
        sent = {"origin": ORIGIN, "authorization": "Bearer s3cret"}
        answer = httpx.post(url, json={"input": "a"}, headers=sent)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        refused = httpx.post(url, json={"input": 7}, headers=sent)  # a page may read why, too
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (400, ORIGIN)
        other = httpx.post(url, json={"input": "a"}, headers={**sent, "origin": "https://evil.example"})
        assert other.status_code == 403
        assert "access-control-allow-origin" not in other.headers


def test_open_paths_keep_the_host_check_when_a_key_is_set():
    with fake_server(api_key="s3cret") as live:
        evil = {"host": "evil.example"}
        for path in ("/health", "/ready", "/metrics"):
            assert httpx.get(live.url + path, headers=evil).status_code == 403
        headers = {**evil, "authorization": "Bearer s3cret"}
        assert httpx.post(live.url + "/v1/embeddings", json={"input": "a"}, headers=headers).status_code == 200


@pytest.mark.parametrize("origins", ["*", "https://*.example.com", "app.example"])
def test_an_origin_that_can_match_nothing_stops_the_start(monkeypatch, capfd, origins):
    monkeypatch.setenv("EMBEDDING_ALLOWED_ORIGINS", origins)
    monkeypatch.setattr("embedserve.api.server.set_up_logging", lambda *_: None)  # of the whole test run
    assert main(["serve", "--port", "0", "--backend", "fake"]) == 2
    assert f"allowed origin '{origins}'" in capfd.readouterr().err
