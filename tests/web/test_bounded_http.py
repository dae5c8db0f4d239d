"""Headers and refused connections have bounds, over real sockets, as httptools and uvicorn alone have none."""

import http.client
import socket
import time

import pytest

from embedserve.web import bounded_http
from support.live import fake_server

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def server():
    with fake_server() as live:
        yield live


@pytest.fixture
def connection(server, monkeypatch):
    monkeypatch.setattr(bounded_http, "_LINGER", 0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as made:
        yield made


def read_all(connection):
    """Until the server closes."""
    got = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionError:
            return got
        if not part:
            return got
        got += part


def read_answer(connection):
    """One answer, whole: its head and its body may come in parts."""
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    reply.read()
    return reply.status


def send_until_closed(connection, parts):
    sent = 0
    try:
        for part in parts:
            connection.sendall(part)
            sent += len(part)
    except OSError:
        pass
    return sent


def test_a_client_that_half_closes_has_left_its_connection_is_closed_and_its_slot_free(server, connection):
    """uvicorn and nearly every client take the end of what is sent for the end of the connection."""
    body = b'{"input": ["x"]}'
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    server.backend.delay = 0.3
    try:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(5)
        assert read_all(connection) == b""
        server.wait_for(lambda: server.runtime.admission.active == 0)
    finally:
        server.backend.delay = 0
    assert server.post({"input": "x"}).status_code == 200


def test_an_answers_head_and_body_leave_in_one_write(connection):
    """Else a process that is killed between them leaves a proxy with a head that it has already passed on."""
    for _ in range(100):
        connection.sendall(HEAD + b"\r\n")
        head, _, body = connection.recv(1 << 20).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        (length,) = (int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        assert len(body) == length


@pytest.mark.parametrize(
    "start",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"GET /health?",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
    ],
)
def test_endless_headers_are_431_and_the_connection_closes(connection, start):
    connection.sendall(start)
    piece = b"x" * 4096 if not start.endswith(b"\n") else b"".join(b"a%d: b\r\n" % n for n in range(500))
    send_until_closed(connection, [piece] * 40)
    assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_complete_headers_that_are_too_large_are_431(connection):
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n")
    assert read_all(connection).startswith(b"HTTP/1.1 431")


def test_large_headers_within_the_bound_are_taken(connection):
    connection.sendall(
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * 50_000 + b"\r\n\r\n"
    )
    assert read_all(connection).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("first", [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_half_sent_headers_are_408_and_the_connection_closes(connection, monkeypatch, first):
    monkeypatch.setattr(bounded_http, "_HEAD_SECONDS", 0.3)
    if first:
        connection.sendall(first)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
    assert b"HTTP/1.1 408" in read_all(connection)  # the rest of the first answer may come in between


def test_after_an_early_refusal_the_connection_closes(connection):
    connection.sendall(
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000000\r\n\r\n{"
    )
    start = time.monotonic()
    assert read_all(connection).startswith(b"HTTP/1.1 413")
    assert time.monotonic() - start < 5


def test_a_connection_goes_on_after_a_refusal_whose_body_came_in_full(connection):
    for _ in range(2):
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert read_answer(connection) == 415
        time.sleep(0.5)


def test_a_connection_that_is_idle_after_an_answer_stays_open(connection, monkeypatch):
    """Regression: the deadline of the next request's headers ran from the last request on, and ended with a 408."""
    monkeypatch.setattr(bounded_http, "_HEAD_SECONDS", 0.2)
    for _ in range(2):
        connection.sendall(HEAD + b"\r\n")
        assert read_answer(connection) == 200
        time.sleep(0.6)
