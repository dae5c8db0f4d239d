"""The image and its container, for real: built from this tree, started by its compose file, MiniLM and no hub."""

import concurrent.futures
import socket
import subprocess
import threading
import time

import httpx
import pytest

from docker.stack import ROOT, cgroup, compose, docker, inspect, remove_ours, users_own, wait_healthy
from scripts.checkout import Checkout
from support.processes import free_port

pytestmark = [pytest.mark.docker, pytest.mark.slow]
SITE = "/opt/venv/lib/python3.11/site-packages"


@pytest.fixture(scope="module")
def image():
    if problem := users_own():
        pytest.skip(problem)
    compose("build")
    yield "embedserve:local"
    remove_ours()


@pytest.fixture(scope="module")
def env():
    return {
        "EMBEDDING_PORT": str(free_port()), "EMBEDDING_MEMORY_LIMIT": "2g", "SEMAPHORE_VALUE": "7",
        "EMBEDDING_MODEL": "all-MiniLM-L6-v2",
    }  # fmt: skip


@pytest.fixture(scope="module")
def url(image, env):
    """`docker-compose -f embeddings/docker-compose.yml up -d` from the root, waited for until healthy."""
    compose("up", "-d", **env)
    print(f"\nhealthy after {wait_healthy('jina-openai'):.0f} s (with the one-time conversion of the model)")
    yield f"http://127.0.0.1:{env['EMBEDDING_PORT']}"
    compose("down", "-v", **env)


def embed(url, texts, timeout=300):
    reply = httpx.post(f"{url}/v1/embeddings", json={"input": texts}, timeout=timeout)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_the_image_holds_what_a_server_needs_and_no_more(image, capsys):
    found = docker(
        "run", "--rm", "--entrypoint", "sh", image, "-c",
        f"id -u; for c in gcc cc make pip git; do command -v /opt/venv/bin/$c; done; ls -d /root/.cache"
        f" {SITE}/torch {SITE}/transformers {SITE}/pip {SITE}/sentence_transformers {SITE}/scipy"
        f" 2>/dev/null; ls {SITE}/torch/lib | grep -c 'cuda' ; find /opt/venv -user embedserve | head -1",
    ).split()  # fmt: skip
    assert found == ["10001", "0"]  # the user; no CUDA library; nothing else was found
    config = inspect(image)["Config"]
    assert config["Entrypoint"] == ["embedserve"]
    assert config["User"] == "10001:10001"
    assert "/ready" in " ".join(config["Healthcheck"]["Test"])
    base = inspect("python:3.11-slim-bookworm")["Size"]
    with capsys.disabled():
        size = inspect(image)["Size"]
        print(f"\nimage {size / 1e6:.0f} MB: its base {base / 1e6:.0f} MB, ours {(size - base) / 1e6:.0f} MB, of them")
        print(docker("run", "--rm", "--entrypoint", "sh", image, "-c",
                     f"cd {SITE}; du -sm * | sort -rn | head -8"))  # fmt: skip


def test_real_embeddings_come_through_the_published_port(url, env):
    answer = embed(url, ["hello world"])
    assert answer["model"] == "all-MiniLM-L6-v2"
    expected = [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362]
    assert answer["data"][0]["embedding"][:5] == pytest.approx(expected, abs=2e-3)  # bf16 where the CPU has it
    assert docker("port", "jina-openai") == f"4000/tcp -> 127.0.0.1:{env['EMBEDDING_PORT']}"


def test_it_is_not_root_without_capabilities_on_a_read_only_root(url):
    status = dict(line.split(":\t") for line in docker("exec", "jina-openai", "cat", "/proc/1/status").splitlines())
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == 0
    assert int(status["NoNewPrivs"]) == 1
    write = "touch /x /opt/venv/x /data/x 2>&1; touch /tmp/x /data/hub/x /data/embedserve/x && echo volumes"
    out = docker("exec", "jina-openai", "sh", "-c", write)
    assert out.count("Read-only file system") == 3
    assert out.endswith("volumes")


def test_the_memory_governor_sees_the_containers_limit(url):
    assert httpx.get(f"{url}/health").json()["memory_limit_bytes"] == 2 << 30 == cgroup("jina-openai")["limit"]


def test_settings_reach_the_server(url):
    out = docker("exec", "jina-openai", "embedserve", "serve", "--show-settings")
    assert "EMBEDDING_SEMAPHORE_VALUE=7" in out
    assert "EMBEDDING_HOME=/data/embedserve" in out


def test_a_hundred_clients_are_answered_within_the_limit_and_nothing_is_killed(url, capsys):
    texts = [f"def handler_{i}(request):\n    return {'x' * (i * 7 % 400)!r} + str(request)\n" for i in range(6000)]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(100) as clients:
        answers = list(clients.map(lambda i: embed(url, texts[i * 60 : i * 60 + 60]), range(100)))
    assert [len(answer["data"]) for answer in answers] == [60] * 100
    figures = cgroup("jina-openai")
    with capsys.disabled():
        print(
            f"\n100 clients x 60 texts in {time.monotonic() - began:.0f} s; the cgroup: "
            f"limit {figures['limit'] >> 20} MiB, peak {figures['peak'] >> 20} MiB, oom_kill {figures['oom_kill']}"
        )
    assert figures["oom_kill"] == 0
    assert figures["peak"] < figures["limit"]
    assert inspect("jina-openai")["RestartCount"] == 0


def test_a_stop_during_a_request_finishes_it_and_exits_0_and_a_new_start_has_the_caches(url, env):
    listed = "cd /data/embedserve; find artefacts -type f | xargs stat -c '%n %Y %s'"
    before = docker("exec", "jina-openai", "sh", "-c", listed)
    assert before
    texts = [f"class Stop{i}:\n    '''{'a long comment ' * 40}{i}'''" for i in range(300)]
    answer = {}
    client = threading.Thread(target=lambda: answer.update(embed(url, texts)))
    client.start()
    deadline = time.monotonic() + 30
    while httpx.get(f"{url}/health").json()["texts_waiting"] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert client.is_alive(), "the request was over before the stop"
    docker("stop", "jina-openai")
    client.join(60)
    assert len(answer["data"]) == 300
    state = inspect("jina-openai")["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)

    compose("up", "-d", **env)
    print(f"healthy again after {wait_healthy('jina-openai'):.0f} s")
    assert docker("exec", "jina-openai", "sh", "-c", listed) == before  # nothing was converted again
    began = time.monotonic()
    again = embed(url, texts)
    assert time.monotonic() - began < 5
    assert again["data"][7]["embedding"] == answer["data"][7]["embedding"]


# --- manage.sh in its Docker runtime, with a stand-in for Qdrant

STANDIN = """
FROM python:3.11-slim-bookworm
RUN printf '%s\\n' 'import http.server, json, threading' \\
 'class H(http.server.BaseHTTPRequestHandler):' \\
 '    def do_GET(self):' \\
 '        self.send_response(200); self.end_headers()' \\
 '        self.wfile.write(json.dumps({"title": "qdrant", "version": "9.9.9"}).encode())' \\
 'for port in (6333, 6334):' \\
 '    threading.Thread(target=http.server.ThreadingHTTPServer(("0.0.0.0", port), H).serve_forever).start()' > /s.py
RUN mkdir /qdrant && printf '#!/bin/sh\\nexec python3 /s.py\\n' > /qdrant/entrypoint.sh \\
 && chmod 755 /qdrant/entrypoint.sh
WORKDIR /qdrant
CMD ["./entrypoint.sh"]
"""


@pytest.fixture
def checkout(image, tmp_path):
    build = ["docker", "build", "-q", "-t", "embedserve-test-qdrant", "-"]
    subprocess.run(build, input=STANDIN.encode(), check=True, capture_output=True)
    remove_ours()
    made = Checkout(tmp_path, docker=True)
    made.env.update(
        QDRANT_IMAGE="embedserve-test-qdrant", QDRANT_GRPC_PORT=str(free_port()), QDRANT_NOFILE="4096",
        DOCKER_BUILDKIT="0",
        EMBEDDING_BACKEND="", EMBEDDING_MODEL="all-MiniLM-L6-v2", EMBEDSERVE_START_TIMEOUT="300",
    )  # fmt: skip
    yield made
    remove_ours()


def test_manage_sh_runs_both_in_docker_through_their_whole_life(checkout):
    started = checkout.run("start", timeout=900)  # auto: an engine answers
    assert started.returncode == 0, started.stdout[-3000:] + started.stderr[-3000:]
    assert f"qdrant is ready (docker, qdrant) on http://127.0.0.1:{checkout.qdrant_port}" in started.stdout
    assert f"jina is ready (docker, jina-openai) on {checkout.url()}" in started.stdout
    assert "dimension  384" in started.stdout
    assert f"curl {checkout.url()}/v1/embeddings" in started.stdout
    assert wait_healthy("qdrant") < 30

    again = checkout.run("start", "--docker")
    assert again.returncode == 0
    assert "jina is already running (docker, jina-openai)" in again.stdout
    other = checkout.run("start", "jina", "--native")
    assert other.returncode == 1
    assert "jina runs already, in the other runtime (docker, jina-openai)" in other.stderr

    status = checkout.run("status")
    assert status.returncode == 0, status.stdout
    rows = {line.split()[0]: line for line in status.stdout.splitlines()}
    assert "docker, jina-openai" in rows["jina"]
    assert "all-MiniLM-L6-v2" in rows["jina"]
    assert " 384 " in rows["jina"]
    assert "version 9.9.9" in rows["qdrant"]
    assert "listening on" in checkout.run("logs", "jina").stdout
    assert "dimension  384" in checkout.run("warmup", "jina").stdout

    born = inspect("jina-openai")["State"]["StartedAt"]
    assert checkout.run("restart", "qdrant").returncode == 0
    assert inspect("jina-openai")["State"]["StartedAt"] == born
    assert checkout.run("restart", "jina", timeout=300).returncode == 0
    assert inspect("jina-openai")["State"]["StartedAt"] != born

    stopped = checkout.run("stop")
    assert stopped.stdout == "jina stopped (docker)\nqdrant stopped (docker)\n"
    assert inspect("jina-openai")["State"]["ExitCode"] == 0
    assert checkout.run("stop").stdout == "jina is not running\nqdrant is not running\n"
    assert checkout.run("status").returncode == 3


def test_manage_sh_names_the_port_the_crash_and_the_container_in_its_way(checkout):
    with socket.socket() as other:
        other.bind(("127.0.0.1", checkout.port))
        other.listen()
        taken = checkout.run("start", "jina", "--docker")
    assert taken.returncode == 5
    assert f"port {checkout.port} is taken by pid" in taken.stderr

    crashed = checkout.run("start", "jina", "--docker", EMBEDDING_MODEL="no-such-model", timeout=300)
    assert crashed.returncode == 1
    assert "jina ended while starting" in crashed.stderr
    assert "no-such-model" in crashed.stderr
    assert inspect("jina-openai")["State"]["Running"] is False  # the restart policy does not go on for ever

    missing = checkout.run("start", "qdrant", "--docker", QDRANT_IMAGE="embedserve-test-missing:v0")
    assert missing.returncode == 1
    assert "qdrant: Docker could not start it; its own message is above" in missing.stderr
    assert "start qdrant --native" in missing.stderr

    docker(
        "run", "-d", "--name", "in-the-way", "-p", f"127.0.0.1:{checkout.qdrant_port}:6333", "embedserve-test-qdrant"
    )
    try:
        result = checkout.run("start", "qdrant")
        assert result.returncode == 5
        assert f"port {checkout.qdrant_port} is taken by the container in-the-way" in result.stderr
    finally:
        docker("rm", "-f", "in-the-way")


def test_the_last_lines_of_a_crash_are_shown_when_the_restart_has_said_something_already(image):
    """The container's second life says its first lines before anybody has looked."""
    lives = "[ -e /tmp/lived ] && { echo 'an early line'; exec sleep 60; }; touch /tmp/lived; echo 'the reason'; exit 1"
    docker("run", "-d", "--name", "crashing", "--restart", "on-failure", "--entrypoint", "sh", image, "-c", lives)
    try:
        deadline = time.monotonic() + 30
        while "an early line" not in (log := docker("logs", "crashing")):
            assert time.monotonic() < deadline, log
            time.sleep(0.1)
        shown = "container_of() { echo crashing; }; docker_tail jina 20"
        script = f". '{ROOT}/scripts/lib/docker.sh'; {shown}"
        said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        assert said.splitlines() == ["the reason", "an early line"]
    finally:
        docker("rm", "-f", "crashing")


def test_both_compose_files_and_the_gpu_override_are_valid():
    assert "jina-openai" in compose("config")
    assert "qdrant/qdrant:v" in compose("config", file="qdrant/docker-compose.yml")
    gpu = compose("-f", str(ROOT / "embeddings/docker-compose.gpu.yml"), "config")
    assert "nvidia" in gpu
    assert "TORCH_INDEX: ''" in gpu or 'TORCH_INDEX: ""' in gpu
