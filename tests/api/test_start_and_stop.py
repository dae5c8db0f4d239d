"""A server that loads, and one that is told to stop: no client waits in vain, and nothing keeps the process."""

import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from embedserve.serving import residents
from support.live import fake_server
from support.processes import clean_environment

# sleeps while the model loads, or in each inference of a short text
SERVER = """
import sys, time
from embedserve.backends import fake
from embedserve.cli import main
loading, computing = float(sys.argv[1]), float(sys.argv[2])
made, embed = fake.FakeBackend.__init__, fake.FakeBackend.embed
def slow_load(self, *a, **k):
    time.sleep(loading)
    made(self, *a, **k)
def slow_embed(self, batch):
    self.delay = computing if len(batch[0]) < 20 else 0
    return embed(self, batch)
fake.FakeBackend.__init__, fake.FakeBackend.embed = slow_load, slow_embed
sys.exit(main(["serve", "--port", "0", "--backend", "fake"]))
"""


@pytest.fixture
def serve(tmp_path):
    """serve(loading, computing, until): (process, url) once the log says `until`."""
    started = []

    def start(loading=0.0, computing=0.0, until="serving fake", **environment):
        command = [sys.executable, "-c", SERVER, str(loading), str(computing)]
        env = clean_environment(EMBEDDING_HOME=str(tmp_path), EMBEDDING_CACHE="off", **environment)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
        started.append(process)
        url = ""
        for line in process.stderr:
            if "listening on" in line:
                url = line.split("listening on ")[1].split()[0]
            if until in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return process, url

    yield start
    for process in started:
        process.kill()
        process.wait()


def post_in_thread(url, answers, body):
    def post():
        answers.append(httpx.post(url + "/v1/embeddings", json=body, timeout=30))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def until_all_are_in(url, count):
    """A busy machine takes its time to send them."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        health = httpx.get(url + "/health", timeout=10).json()
        if health["requests_active"] + health["requests_waiting"] == count:
            return
        time.sleep(0.01)
    raise AssertionError("the requests did not come in")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_a_model_loads_it_ends_and_answers_who_waits(serve, end):
    """Regression: the loop's end waited for the loading thread, up to 87 s."""
    process, url = serve(loading=60, until="listening on")
    answers = []
    thread = post_in_thread(url, answers, {"input": "abc"})
    time.sleep(0.5)
    start = time.monotonic()
    process.send_signal(end)
    assert process.wait(20) == 0
    assert time.monotonic() - start < 10  # 60 without the mend; the two seconds are for a quiet machine
    thread.join(10)
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "5")


def test_a_request_that_comes_while_the_model_loads_is_held_and_answered(serve):
    assert residents.HOLD == 10  # the least patient client's validation gives up at 15 s
    _process, url = serve(loading=2, until="listening on")
    assert httpx.post(url + "/v1/embeddings", json={"input": "abc"}, timeout=30).status_code == 200


@pytest.mark.parametrize("seconds", ["0", "0.5"])
@pytest.mark.slow
def test_what_is_unfinished_at_the_drains_end_is_503_with_retry_after(serve, seconds):
    """Regression: below 1 the drain was for ever, and at its end clients got 500."""
    process, url = serve(computing=4, EMBEDDING_DRAIN_TIMEOUT=seconds)
    answers = []
    threads = [post_in_thread(url, answers, {"input": text}) for text in ("abc", "abcd")]
    time.sleep(0.7)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(20)
    assert [(a.status_code, a.headers.get("retry-after")) for a in answers] == [(503, "5")] * 2
    assert "shutting down" in answers[0].json()["error"]["message"]
    assert process.wait(30) == 0


@pytest.mark.slow
def test_what_waits_is_finished_within_the_drain(serve):
    process, url = serve(computing=1.0, EMBEDDING_SEMAPHORE_VALUE="2", EMBEDDING_DRAIN_TIMEOUT="20")
    answers = []
    pad = "x" * 5000  # large: two slots for six requests
    threads = [post_in_thread(url, answers, {"input": f"a{n}", "user": pad}) for n in range(6)]
    until_all_are_in(url, 6)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert process.wait(20) == 0


def test_a_scan_that_holds_all_large_slots_stops_no_search():
    with fake_server(streams=4, semaphore_value=2) as server:
        answers = []
        server.backend.delay = 0.3
        body = {"input": ["def f(): pass"] * 10, "user": "x" * 5000}
        scan = [post_in_thread(server.url, answers, body) for _ in range(4)]
        server.wait_for(lambda: server.runtime.admission.waiting == 2)
        searches = [post_in_thread(server.url, [], {"input": f"search {n}"}) for n in range(8)]
        server.wait_for(lambda: server.runtime.admission.active > 2)
        for thread in scan + searches:
            thread.join(20)
        assert [answer.status_code for answer in answers] == [200] * 4
