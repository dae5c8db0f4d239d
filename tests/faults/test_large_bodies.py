"""Bodies of 100 MB, declared and not: refused early, with an answer, and without the memory for them."""

import socket
from pathlib import Path

import httpx
import psutil
import pytest

from support.processes import Process, embedded_qdrant

SIZE = 100 << 20
PIECE = b'"' + b"x" * ((1 << 20) - 2) + b","
JSON = {"content-type": "application/json"}
ROUTES = {"service": "/v1/embeddings", "qdrant": "/collections/c/points/scroll"}


def service() -> Process:
    return Process(["serve", "--backend", "fake"], "/ready")


def send(port: int, path: str, *, declared: bool) -> bytes:
    """What the server answers; the body is sent until it is refused, as most clients do."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {SIZE}\r\n\r\n" if declared else "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head.encode())
        try:
            for _ in range(SIZE // len(PIECE)):
                connection.sendall(PIECE if declared else b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused and closed: the answer may be there all the same
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


@pytest.mark.slow
@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_of_100_mb_costs_neither_memory_nor_the_next_request(name: str, declared: bool, tmp_path: Path) -> None:
    server = service() if name == "service" else embedded_qdrant(tmp_path / "storage")
    with server:
        port = httpx.URL(server.url).port
        assert port is not None
        process = psutil.Process(server.process.pid)
        before, most, said = process.memory_info().rss, 0, []
        for _ in range(5):
            said.append(send(port, ROUTES[name], declared=declared))
            most = max(most, process.memory_info().rss)
        assert [answer for answer in said if answer and b" 413 " not in answer.splitlines()[0]] == []
        assert any(said)  # a client that is still sending may see only the connection's end
        refused = httpx.post(server.url + ROUTES[name], content=PIECE * 100, headers=JSON, timeout=60)
        assert refused.status_code == 413
        assert refused.json()  # each in the shape of its API
        assert most - before < 100 << 20
        assert httpx.get(server.url + ("/health" if name == "service" else "/healthz")).status_code == 200
