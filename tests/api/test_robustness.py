"""What must not wedge it: slow, dead and greedy clients, failing batches, overload, shutdown."""

import asyncio
import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest

from embedserve.errors import OutOfMemory
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings
from support.live import fake_server

JSON = {"content-type": "application/json"}


def raw_request(server, body: bytes, declared: int | None = None, receive_buffer: int | None = None) -> socket.socket:
    """Send a request's headers and `body`, which may be less than what the headers declare."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(
        b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % (declared if declared is not None else len(body)) + body
    )
    return connection


def test_half_sent_bodies_hold_no_slot_while_a_search_answers():
    """Seen in an experiment: 8 half-sent bodies held all slots for ever."""
    with fake_server() as server:
        stuck = [raw_request(server, b'{"input": ["', declared=n) for n in (100, 1_000_000) for _ in range(8)]
        stuck += [raw_request(server, b'{"input": ["' + b"x" * 100_000, declared=1_000_000) for _ in range(8)]
        server.wait_for(lambda: server.runtime.admission.active == 8)
        start = time.monotonic()
        assert server.post({"input": "def search(): pass"}).status_code == 200
        assert time.monotonic() - start < 1
        for one in stuck:
            one.close()
        server.wait_for(lambda: server.runtime.admission.active == 0 == server.runtime.admission.waiting)


def test_a_body_that_does_not_arrive_is_408_and_the_connection_closes():
    with fake_server(body_timeout=0.2) as server:
        connection = raw_request(server, b'{"input"', declared=100)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert b"408" in answer.split(b"\r\n")[0]
        assert b"request_timeout" in answer


def test_clients_that_do_not_read_their_answer_hold_no_slot():
    with fake_server() as server:
        body = json.dumps({"input": [f"text {i}" for i in range(8000)]}).encode()
        deaf = [raw_request(server, body) for _ in range(8)]
        server.wait_for(lambda: server.backend.batches and server.runtime.admission.active == 0, 60)
        start = time.monotonic()
        assert server.post({"input": "x"}).status_code == 200
        assert time.monotonic() - start < 1
        for one in deaf:
            one.close()


def test_a_client_that_never_reads_loses_its_connection_at_the_deadline():
    with fake_server(write_timeout=0.3) as server:
        body = json.dumps({"input": [f"text {i}" for i in range(8192)]}).encode()
        deaf = raw_request(server, body, receive_buffer=8192)
        server.wait_for(lambda: server.backend.batches and server.runtime.admission.active == 0, 30)
        time.sleep(1)
        deaf.settimeout(10)
        received = b""
        try:
            while chunk := deaf.recv(1 << 20):
                received += chunk
        except ConnectionResetError:
            pass
        head, _, rest = received.partition(b"\r\n\r\n")
        declared = int(re.search(rb"content-length: (\d+)", head)[1])
        assert 0 < len(rest) < declared
        assert server.post({"input": "x"}).status_code == 200


def test_a_client_killed_mid_request_frees_its_slot_and_its_texts_are_not_computed():
    with fake_server(max_batch_size=8) as server:
        server.backend.delay = 0.2
        body = json.dumps({"input": [f"text number {i}" for i in range(400)]}).encode()
        connection = raw_request(server, body)
        server.wait_for(lambda: len(server.backend.batches) >= 1)
        connection.close()
        server.wait_for(lambda: server.runtime.admission.active == 0)
        server.wait_for(lambda: len(server.runtime.models[0].engine.backlog) == 0)
        assert sum(map(len, server.backend.batches)) < 100
        server.backend.delay = 0
        assert server.post({"input": "x"}).status_code == 200


def test_a_client_that_leaves_the_waiting_room_is_forgotten():
    with fake_server(semaphore_value=2) as server:
        server.backend.delay = 0.5
        body = json.dumps({"input": ["x" * 20_000]}).encode()
        working = [raw_request(server, body) for _ in range(2)]
        server.wait_for(lambda: server.runtime.admission.active == 2)
        waiting = raw_request(server, body)
        server.wait_for(lambda: server.runtime.admission.waiting == 1)
        waiting.close()
        server.wait_for(lambda: server.runtime.admission.waiting == 0)
        for one in working:
            one.close()


def test_a_full_waiting_room_answers_429_with_retry_after():
    with fake_server(semaphore_value=2, queue_size=1) as server:
        server.backend.delay = 0.5
        body = json.dumps({"input": ["x" * 20_000]}).encode()
        held = [raw_request(server, body) for _ in range(2)]
        server.wait_for(lambda: server.runtime.admission.active == 2)
        held.append(raw_request(server, body))
        server.wait_for(lambda: server.runtime.admission.waiting == 1)
        refused = httpx.post(server.url + "/v1/embeddings", content=body, headers=JSON, timeout=30)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        for one in held:
            one.close()


def test_a_wait_over_the_timeout_is_429():
    with fake_server(semaphore_value=2, queue_timeout=0.2) as server:
        server.backend.delay = 1
        body = json.dumps({"input": ["x" * 20_000]}).encode()
        held = [raw_request(server, body) for _ in range(2)]
        server.wait_for(lambda: server.runtime.admission.active == 2)
        refused = httpx.post(server.url + "/v1/embeddings", content=body, headers=JSON, timeout=30)
        assert refused.status_code == 429
        for one in held:
            one.close()


def test_a_failing_batch_answers_all_its_members_and_the_next_request_works():
    with fake_server() as server:
        server.backend.delay = 0.1

        def fail(_batch):
            raise RuntimeError("injected")

        server.backend.fail = fail
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda i: server.post({"input": [f"text {i}", "shared"]}), range(8)))
        assert {a.status_code for a in answers} == {500}
        assert {a.json()["error"]["code"] for a in answers} == {"inference_failed"}
        assert "injected" not in answers[0].text
        ready = httpx.get(server.url + "/ready")
        assert ready.status_code == 503
        assert "last inference failed" in ready.json()["error"]["message"]
        server.backend.fail = None
        assert server.post({"input": "x"}).status_code == 200
        assert httpx.get(server.url + "/ready").status_code == 200


def test_a_vector_that_is_not_finite_fails_its_text_alone():
    with fake_server() as server:
        whole = server.backend.vector
        server.backend.vector = lambda ids: whole(ids) * (np.nan if len(ids) == 7 else 1)
        assert server.post({"input": "12345"}).status_code == 500
        assert httpx.get(server.url + "/ready").status_code == 503
        assert server.post({"input": "1234"}).status_code == 200


def test_out_of_memory_splits_down_to_one_text_and_only_that_one_fails():
    with fake_server() as server:

        def fail(batch):
            if sum(map(len, batch)) > 100:
                raise OutOfMemory("injected")

        server.backend.fail = fail
        assert server.post({"input": ["x" * 30 + str(i) for i in range(32)]}).status_code == 200
        refused = server.post({"input": "x" * 200})
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "out_of_memory"
        assert server.post({"input": "x" * 20}).status_code == 200
        assert httpx.get(server.url + "/ready").status_code == 200


def test_a_worker_that_died_turns_ready_red_and_nobody_waits_for_it():
    with fake_server() as server:

        def die(_batch):
            raise SystemExit

        server.backend.fail = die
        assert server.post({"input": "a"}).status_code == 503
        assert "worker died" in httpx.get(server.url + "/ready").json()["error"]["message"]
        assert server.post({"input": "b"}).status_code == 503


def test_a_hundred_clients_are_all_answered_right_and_none_refused():
    with fake_server(streams=2) as server:
        texts = {i: [f"client {i} text {j} " * (j % 7 + 1) for j in range(60)] for i in range(100)}
        limits = httpx.Limits(max_connections=100)
        with httpx.Client(limits=limits, timeout=120) as client, concurrent.futures.ThreadPoolExecutor(100) as pool:
            answers = list(
                pool.map(lambda i: client.post(server.url + "/v1/embeddings", json={"input": texts[i]}), range(100))
            )
        assert {a.status_code for a in answers} == {200}
        for i, answer in enumerate(answers):
            one = server.post({"input": texts[i][41]}).json()["data"][0]["embedding"]
            np.testing.assert_allclose(answer.json()["data"][41]["embedding"], one, atol=1e-6)


@pytest.mark.slow
def test_a_search_overtakes_a_scan():
    with fake_server(max_batch_size=8) as server:
        server.backend.delay = 0.05
        scan = threading.Thread(target=lambda: server.post({"input": [f"chunk {i} " * 20 for i in range(800)]}))
        scan.start()
        server.wait_for(lambda: len(server.backend.batches) > 2)
        before = len(server.backend.batches)
        assert server.post({"input": "where is the parser"}).status_code == 200
        assert len(server.backend.batches) - before <= 4
        scan.join()


def test_identical_texts_in_flight_are_computed_once():
    with fake_server() as server:
        server.backend.delay = 0.2
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: server.post({"input": ["same text"] * 5}), range(6)))
        assert sum(map(len, server.backend.batches)) <= 2


def test_sigterm_finishes_the_request_in_work_and_exits_0(tmp_path):
    """`docker stop` during a request: uvicorn alone would die by the signal."""
    code = (
        "import sys; from embedserve.backends import fake; from embedserve.cli import main\n"
        "real = fake.FakeBackend.embed\n"
        "def slow(self, batch):\n    self.delay = 1.0 if len(batch[0]) < 20 else 0\n    return real(self, batch)\n"
        "fake.FakeBackend.embed = slow\n"
        "sys.exit(main(['serve', '--port', '0', '--backend', 'fake']))"
    )
    env = {**os.environ, "EMBEDDING_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=env)
    try:
        url = ""
        for line in process.stderr:
            if "listening on" in line:
                url = line.split("listening on ")[1].split()[0]
            if "serving fake" in line:
                break
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(httpx.post(url + "/v1/embeddings", json={"input": "abc"}, timeout=30))
        )
        thread.start()
        time.sleep(0.4)
        process.send_signal(signal.SIGTERM)
        thread.join(20)
        assert answers[0].status_code == 200
        assert process.wait(20) == 0
    finally:
        process.kill()


@pytest.mark.parametrize("backend", ["fake"])
def test_a_port_that_is_taken_is_named(backend, capfd):
    from embedserve.cli import main

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port), "--backend", backend]) == 2
    assert f"port {port} is taken" in capfd.readouterr().err


def test_a_load_that_fails_unexpectedly_ends_the_server_instead_of_leaving_it_without_a_model():
    def broken(_name, _settings):
        raise RuntimeError("the library's own words")

    runtime = Runtime(Settings(cache="off"), load=broken)
    asyncio.run(runtime.load())
    assert not runtime.loading
    assert "the library's own words" in runtime.failure.message  # server.py: prints it and exits with 2
