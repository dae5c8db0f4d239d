"""The service on a real Ray Serve: routed models, a replica killed under load. The backend is the fake
one, whose vectors follow from the text, so that each answer is checked."""

from __future__ import annotations

import os
import signal
import threading
import time

import httpx
import pytest

from support.processes import free_port

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A Ray of our own with Serve's proxy on a free port."""
    from ray import serve

    home = tmp_path_factory.mktemp("home")
    before = dict(os.environ)
    port = free_port()
    try:  # a Ray that does not start must not leave its settings to the tests after it
        os.environ.update(
            RAY_USAGE_STATS_ENABLED="0", EMBEDDING_BACKEND="fake", EMBEDDING_CACHE="off", EMBEDDING_HOME=str(home)
        )
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()
    finally:
        ray.shutdown()
        os.environ.clear()
        os.environ.update(before)


def run(**options):
    from embedserve.scaling.app import build
    from embedserve.scaling.options import ScaleOptions
    from ray import serve

    serve.run(build(ScaleOptions(**options)), name="embedserve")


def post(url, **body):
    return httpx.post(f"{url}/v1/embeddings", json=body, timeout=60)


def embedded(url, texts):
    return [row["embedding"] for row in post(url, input=texts).json()["data"]]


def test_two_models_answer_behind_one_endpoint(url):
    run(models="one,two", cpus=0.5)
    assert {post(url, input="a", model=name).json()["model"] for name in ("one", "two")} == {"one", "two"}
    assert post(url, input="a").json()["model"] == "one"
    assert post(url, input="a", model="three").status_code == 404
    listed = [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]]
    assert [name for name in listed if not name.endswith(("-query", "-document"))] == ["one", "two"]
    assert httpx.get(f"{url}/ready").status_code == 200


def test_a_replica_killed_under_load_loses_no_request_that_is_repeated_once(url):
    run(models="one", cpus=0.5, min_replicas=2, max_replicas=2)
    texts = [f"text {number}" for number in range(20)]
    expected, faults, repeated, stop = embedded(url, texts), [], [], threading.Event()

    def client():
        while not stop.is_set():
            for attempt in range(3):  # as the SDKs do: twice again on a 5xx or a broken connection
                try:
                    answer = post(url, input=texts)
                except httpx.TransportError as error:
                    answer = error
                if isinstance(answer, httpx.Response) and answer.status_code == 200:
                    if [row["embedding"] for row in answer.json()["data"]] != expected:
                        faults.append("a wrong vector")
                    break
                repeated.append(repr(answer))
                time.sleep(0.5 * 2**attempt)
            else:
                faults.append(repeated[-1])

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    pids = set()
    deadline = time.monotonic() + 30
    while len(pids) < 2 and time.monotonic() < deadline:
        pids.add(httpx.get(f"{url}/health").json()["pid"])
    victim = pids.pop()
    os.kill(victim, signal.SIGKILL)
    others = set()
    deadline = time.monotonic() + 60
    while len(others) < 2 and time.monotonic() < deadline:  # capacity is back: two living processes answer
        try:
            others.add(httpx.get(f"{url}/health", timeout=10).json()["pid"])
        except (httpx.HTTPError, ValueError, KeyError):
            time.sleep(0.1)
        others.discard(victim)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert len(others) == 2


def test_all_replicas_are_replaced_under_load_and_every_request_is_answered(url):
    run(models="one", cpus=0.5, min_replicas=2, max_replicas=2, memory="900m")
    texts = [f"text {number}" for number in range(20)]
    expected, faults, answers, stop = embedded(url, texts), [], [], threading.Event()

    def client():
        while not stop.is_set():
            try:
                answer = post(url, input=texts)
            except httpx.HTTPError as error:
                faults.append(repr(error))
                continue
            answers.append(answer.status_code)
            if answer.status_code != 200 or [row["embedding"] for row in answer.json()["data"]] != expected:
                faults.append(answer.text[:200])

    before = pids(url, 2)
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    run(models="one", cpus=0.5, min_replicas=2, max_replicas=2, memory="950m")  # another argument: another version
    after = pids(url, 2, without=before)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert len(answers) > 20
    assert len(after) == 2


def test_a_model_that_nobody_asks_has_no_replica_and_the_next_request_brings_one(url):
    from ray import serve

    run(models="one", cpus=0.5, min_replicas=0, max_replicas=1, downscale_delay=1, upscale_delay=0)
    expected = embedded(url, ["a"])

    def replicas():
        return sum(serve.status().applications["embedserve"].deployments["embedserve"].replica_states.values())

    deadline = time.monotonic() + 90
    while replicas():
        assert time.monotonic() < deadline, "the replica did not go"
        time.sleep(0.3)
    assert embedded(url, ["a"]) == expected
    assert replicas() == 1


def pids(url, count, without=frozenset()):
    """The processes that answer, `count` of them."""
    found, deadline = set(), time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        try:
            found.add(httpx.get(f"{url}/health", timeout=10).json()["pid"])
        except (httpx.HTTPError, ValueError, KeyError):
            time.sleep(0.1)
        found -= without
    return found
