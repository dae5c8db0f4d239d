"""Which requests BrowserGuard takes for a web page's, through a real ASGI round trip."""

import asyncio

import httpx
import orjson
import pytest
from starlette.responses import PlainTextResponse

from embedserve.web.browser_guard import BrowserGuard


def error_body(status, error):
    return orjson.dumps({"status": status, "message": error.message})


def send(method="GET", host="127.0.0.1:4000", headers=None, content=None, **options):
    async def request():
        guard = BrowserGuard(PlainTextResponse("in"), error_body=error_body, **options)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x") as client:
            return await client.request(method, "/x", headers={"host": host, **(headers or {})}, content=content)

    return asyncio.run(request())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:4000", "192.168.1.5:80", "[::1]:4000", "localhost", "LOCALHOST:4",
     "a.localhost:1",
     "embeddings:4000", "qdrant", "localhost.", "host.docker.internal:4000"],
)  # fmt: skip
def test_lets_local_host_names_through(host):
    assert (send(host=host)).text == "in"


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:4000", "127.0.0.1.evil.example", "localhost.evil.example",
     "a.localhost.evil.example",
     "1.2.3", "evil.example@localhost", "[::1", "localhost:x", "host.docker.internal.evil.example", ".", ""],
)  # fmt: skip
def test_refuses_public_and_malformed_host_names(host):
    response = send(host=host)
    assert response.status_code == 403
    assert response.headers["content-type"] == "application/json"
    assert "Host name" in response.json()["message"]


def test_a_listed_host_name_is_let_through_whatever_its_case_and_port():
    assert (send(host="Box.Lan:4000", allowed_hosts=["box.lan"])).status_code == 200
    assert (send(host="other.lan:4000", allowed_hosts=["box.lan"])).status_code == 403


def test_any_host_name_is_let_through_when_the_check_is_off():
    assert (send(host="qdrant.example.com", check_host=lambda scope: False)).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "vscode-webview://abc"],
)
def test_refuses_other_origins_even_for_reading(origin):
    response = send(headers={"origin": origin})
    assert response.status_code == 403
    assert origin in response.json()["message"]


@pytest.mark.parametrize(
    ("host", "origin"),
    [("127.0.0.1:4000", "http://127.0.0.1:4000"), ("localhost", "http://localhost"), ("localhost:80", "http://localhost"),
     ("box", "https://box"), ("[::1]:4000", "http://[::1]:4000")],
)  # fmt: skip
def test_lets_its_own_origin_through(host, origin):
    assert (send(host=host, headers={"origin": origin})).status_code == 200


def test_lets_a_listed_origin_through():
    options = {"allowed_origins": ["https://app.example"]}
    assert (send(headers={"origin": "https://app.example"}, **options)).status_code == 200
    assert (send(headers={"origin": "https://app.example:8443"}, **options)).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/json",
        "",
    ],
)
def test_a_body_that_may_change_data_must_be_json(method, media):
    headers = {"content-type": media} if media else {}
    assert (send(method, headers=headers, content=b"{}")).status_code == 415


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"])
def test_json_bodies_are_let_through(media):
    assert (send("POST", headers={"content-type": media}, content=b"{}")).status_code == 200


@pytest.mark.parametrize(("coding", "status"), [("gzip", 415), ("br, gzip", 415), ("identity", 200), ("", 200)])
def test_a_compressed_body_is_refused_by_name(coding, status):
    answer = send("POST", headers={"content-type": "application/json", "content-encoding": coding}, content=b"{}")
    assert answer.status_code == status
    if status == 415:
        assert coding in answer.text
        assert "uncompressed" in answer.text


def test_a_chunked_body_counts_as_a_body():
    async def chunks():
        yield b"{}"

    assert (send("POST", content=chunks())).status_code == 415


def test_a_delete_without_body_needs_no_content_type():
    assert (send("DELETE")).status_code == 200


@pytest.mark.parametrize(
    ("option", "entry"),
    [("allowed_hosts", "http://a.b"), ("allowed_hosts", "a.b:80"), ("allowed_hosts", ""),
     ("allowed_origins", "a.example"), ("allowed_origins", "https://a.example/x"), ("allowed_origins", "*"),
     ("allowed_origins", "https://*.example")],
)  # fmt: skip
def test_a_wrong_option_is_an_error_at_construction(option, entry):
    options = {option: [entry]}
    with pytest.raises(ValueError, match="allowed"):
        BrowserGuard(PlainTextResponse("in"), error_body=error_body, **options)
