"""SIGKILL while a server starts or works: the next start needs no cleaning up, and neighbours feel nothing."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest

from support.checkpoints import tiny_jina
from support.processes import clean_environment

TEXTS = ["def add(a, b):\n    return a + b", "x", "SELECT 1"]


def start(*arguments, home, **environment):
    command = [sys.executable, "-m", "embedserve.cli", "serve", "--port", "0", *arguments]
    env = clean_environment(EMBEDDING_HOME=str(home), **environment)
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)


def address(process, until="serving "):
    """The server's address once its log says `until`; what comes afterwards is read and thrown away."""
    url, lines = "", []
    for line in process.stderr:
        lines.append(line)
        if "listening on" in line:
            url = line.split("listening on ")[1].split()[0]
        if until in line:
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return url
    raise AssertionError("".join(lines))


def vectors(url, texts=TEXTS, **fields):
    answer = httpx.post(url + "/v1/embeddings", json={"input": texts, **fields}, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]], dtype=np.float32)


@pytest.mark.slow
def test_killed_at_any_moment_of_a_first_start_the_next_start_is_as_good_as_new(tmp_path):
    model = str(tiny_jina(tmp_path / "model"))
    clean = start("--model", model, home=tmp_path / "clean")
    wanted = vectors(address(clean))
    clean.kill()
    for moment in (0.3, 1.0, 1.5, 2.0, 2.5, 3.0):
        process = start("--model", model, home=tmp_path / "home")
        time.sleep(moment)
        process.kill()
        process.wait()
    process = start("--model", model, home=tmp_path / "home")
    np.testing.assert_array_equal(vectors(address(process)), wanted)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    (manifest,) = (tmp_path / "home").rglob("manifest.json")  # one artefact, and nothing that a killed start left
    assert json.loads(manifest.read_text())
    assert [path.name for path in manifest.parent.parent.iterdir()] == [manifest.parent.name]


@pytest.mark.slow
def test_of_two_servers_on_one_cache_one_is_killed_and_the_other_feels_nothing(tmp_path):
    def fake():
        return start("--backend", "fake", home=tmp_path, EMBEDDING_CACHE="disk")

    one, other = fake(), fake()
    try:
        urls = address(one), address(other)
        wrong, answered = [], 0
        stop = threading.Event()

        def load(url, salt):
            nonlocal answered
            n = 0
            while not stop.is_set():
                n += 1
                try:
                    got = vectors(url, [f"text {i}" for i in range(n % 40, n % 40 + 30)])
                except httpx.TransportError:
                    return  # that one was killed
                wanted = vectors(urls[1], [f"text {n % 40}"])
                if not np.array_equal(got[:1], wanted):
                    wrong.append(n)
                answered += 1

        threads = [threading.Thread(target=load, args=(url, salt)) for salt, url in enumerate(urls)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        one.kill()
        before = answered
        time.sleep(1.5)
        stop.set()
        for thread in threads:
            thread.join(60)
        assert not wrong
        assert answered > before
        assert httpx.get(urls[1] + "/ready").status_code == 200
        other.send_signal(signal.SIGTERM)
        assert other.wait(20) == 0
    finally:
        for process in (one, other):
            process.kill()
    files = list(tmp_path.rglob("*.sqlite"))
    assert files
    assert list(tmp_path.rglob("*.broken*")) == []
    for file in files:
        assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)
