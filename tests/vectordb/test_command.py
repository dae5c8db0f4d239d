"""The process: how it binds, guards, bounds, stops."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from vectordb.conftest import Embedded

JSON = {"content-type": "application/json"}
CREATE = {"vectors": {"size": 2, "distance": "Dot"}}


def refused(*options, env=None):
    """The exit code and message of a start that is refused."""
    command = [sys.executable, "-m", "embedserve.cli", "qdrant", *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
    return ran.returncode, ran.stderr


def test_sigterm_ends_it_with_0_and_everything_is_there_again(tmp_path):
    with Embedded(tmp_path / "s") as server:
        httpx.put(f"{server.url}/collections/a", json=CREATE).raise_for_status()
        httpx.put(f"{server.url}/collections/a/points", json={"points": [{"id": 1, "vector": [1, 2]}]})
        assert server.stop() == 0
    with Embedded(tmp_path / "s") as server:
        assert httpx.get(f"{server.url}/collections/a").json()["result"]["points_count"] == 1


def test_a_second_process_on_the_storage_is_refused_with_a_reason(tmp_path):
    with Embedded(tmp_path / "s") as server:
        code, message = refused("--port", "0", "--storage", str(tmp_path / "s"))
        assert code == 2
        assert f"process {server.process.pid}" in message
        assert server.stop() == 0


def test_a_port_in_use_is_refused_with_a_reason(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, message = refused("--port", str(port), "--storage", str(tmp_path / "s"))
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in message


def test_an_allowed_host_that_is_none_is_refused_and_a_right_one_works(tmp_path):
    code, message = refused("--port", "0", "--storage", str(tmp_path / "s"), "--allowed-host", "http://a.b")
    assert code == 2
    assert "allowed host 'http://a.b'" in message
    with Embedded(tmp_path / "s", "--allowed-host", "box.lan") as server:
        assert httpx.get(f"{server.url}/collections", headers={"host": "box.lan:6333"}).status_code == 200
        assert httpx.get(f"{server.url}/collections", headers={"host": "fox.lan:6333"}).status_code == 403


def test_a_wider_bind_needs_a_key_or_an_explicit_word(tmp_path):
    for host in ("0.0.0.0", "::", "192.0.2.7"):
        code, message = refused("--host", host, "--port", "0", "--storage", str(tmp_path / "s"))
        assert code == 2
        assert "QDRANT_API_KEY" in message
        assert "--without-api-key" in message
    for options, env in ((["--without-api-key"], None), ([], {"QDRANT_API_KEY": "k"}), (["--api-key", "k"], None)):
        with Embedded(tmp_path / "s", "--host", "0.0.0.0", *options, env=env) as server:
            assert httpx.get(server.url.replace("0.0.0.0", "127.0.0.1") + "/readyz").status_code == 200
            assert server.stop() == 0


def test_with_a_key_everything_but_health_needs_it(tmp_path):
    with (
        Embedded(tmp_path / "s", env={"QDRANT_API_KEY": "s3cret"}) as server,
        httpx.Client(base_url=server.url) as http,
    ):
        for path in ("/", "/healthz", "/livez", "/readyz"):
            assert http.get(path).status_code == 200
        for headers in ({}, {"api-key": "other"}, {"Authorization": "Bearer other"}):
            reply = http.put("/collections/a", json=CREATE, headers=headers)
            assert reply.status_code == 401
            assert "API key" in reply.json()["status"]["error"]
            assert http.get("/collections", headers=headers).status_code == 401
        for headers in ({"api-key": "s3cret"}, {"Authorization": "Bearer s3cret"}):
            assert http.get("/collections", headers=headers).json()["result"] == {"collections": []}
        public = {"api-key": "s3cret", "host": "qdrant.example.com"}
        assert http.get("/collections", headers=public).status_code == 200
        assert "s3cret" not in server.log.read_text()


@pytest.fixture(scope="module")
def http(tmp_path_factory):
    with Embedded(tmp_path_factory.mktemp("guarded") / "s") as server, httpx.Client(base_url=server.url) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:6333"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({"host": "qdrant:6333"}, 200),
    ],
)
def test_what_a_web_page_could_send_is_refused_in_qdrants_shape(http, headers, status):
    reply = http.put("/collections/page", content=b'{"vectors":{"size":2,"distance":"Dot"}}', headers=JSON | headers)
    assert reply.status_code == status
    if status != 200:
        assert isinstance(reply.json()["status"]["error"], str)
        assert http.get("/collections/page/exists").json()["result"]["exists"] is False
    else:
        assert http.delete("/collections/page").json()["result"] is True


def test_a_body_over_32_mib_is_413_declared_or_not(http):
    def chunks():
        for _ in range(33):
            yield b" " * (1 << 20)

    http.put("/collections/big", json=CREATE)
    for content in (b" " * ((32 << 20) + 1), chunks()):
        reply = http.put("/collections/big/points", content=content, headers=JSON)
        assert reply.status_code == 413
        assert "larger than allowed" in reply.json()["status"]["error"]
    assert http.get("/readyz").status_code == 200


@contextmanager
def half_sent(http, count):
    """Connections that have sent the headers of a write and nothing more."""
    address = (http.base_url.host, http.base_url.port)
    sockets = [socket.create_connection(address) for _ in range(count)]
    for connection in sockets:
        connection.sendall(
            b"PUT /collections/big/points HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        )
    try:
        yield
    finally:
        for connection in sockets:
            connection.close()


def test_clients_that_send_half_a_body_and_leave_do_not_block_the_others(http):
    http.put("/collections/big", json=CREATE)
    with half_sent(http, 30):
        time.sleep(0.3)
        assert http.get("/readyz").status_code == 200
    reply = http.put("/collections/big/points", json={"points": [{"id": 1, "vector": [1, 2]}]}, timeout=10)
    assert reply.status_code == 200


def test_health_answers_while_a_large_upsert_is_worked_on(http):
    http.put("/collections/large", json={"vectors": {"size": 500, "distance": "Dot"}})
    points = [{"id": i, "vector": [i + 0.5] * 500} for i in range(3000)]
    done = threading.Event()

    def upsert():
        reply = http.put("/collections/large/points?wait=true", json={"points": points}, timeout=60)
        assert reply.status_code == 200
        done.set()

    thread = threading.Thread(target=upsert)
    thread.start()
    with httpx.Client(base_url=http.base_url, timeout=10) as other:
        while not done.is_set() and thread.is_alive():
            assert other.get("/readyz").status_code == 200
    thread.join()
    assert done.is_set()
