"""Three plain processes behind nginx, with the configuration file of the repository: nothing is lost when one goes.

The processes use the fake backend, whose vectors follow from the text, so that each answer is checked.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from support.processes import Process, free_port

CONF = Path(__file__).parents[2] / "embeddings" / "nginx" / "embedserve.conf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx here (Debian: apt-get install nginx-light)"),
]


@contextlib.contextmanager
def nginx(ports, folder: Path):
    """nginx as a plain process in the foreground, with our file and these ports."""
    port = free_port()
    text = CONF.read_text()
    for old, new in zip((4001, 4002, 4003), ports, strict=True):
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    text = re.sub(r"listen 4000;", f"listen 127.0.0.1:{port};", text)
    (folder / "embedserve.conf").write_text(text)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log warn; worker_processes 1; user root;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\ninclude {folder}/embedserve.conf; }}\n"
    )
    process = subprocess.Popen(["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + 10
        while True:
            assert process.poll() is None, (folder / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not answer"
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/health")
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)


class Load:
    """Clients that send batches one after the other until told to stop, and check every vector."""

    def __init__(self, url: str, clients: int = 6) -> None:
        self.url, self.stop = url, threading.Event()
        self.answered, self.faults = 0, []
        self._reference = httpx.post(f"{url}/v1/embeddings", json={"input": ["text 0"]}).json()["data"][0]["embedding"]
        self._threads = [threading.Thread(target=self._run, args=(index,)) for index in range(clients)]

    def _run(self, index: int) -> None:
        with httpx.Client(timeout=60) as client:
            turn = 0
            while not self.stop.is_set():
                turn += 1
                texts = ["text 0"] + [f"{index} {turn} {number}" for number in range(19)]
                try:
                    answer = client.post(f"{self.url}/v1/embeddings", json={"input": texts})
                    rows = [row["embedding"] for row in answer.json()["data"]] if answer.status_code == 200 else []
                    if len(rows) != 20 or not np.allclose(rows[0], self._reference, atol=1e-6):
                        self.faults.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    self.faults.append(repr(error))
                self.answered += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self._threads:
            thread.join(60)

    def more(self, count: int) -> None:
        """Return when `count` further requests were answered."""
        wanted, deadline = self.answered + count, time.monotonic() + 60
        while self.answered < wanted:
            assert time.monotonic() < deadline, f"only {self.answered} answers; faults: {self.faults[:3]}"
            time.sleep(0.02)


def test_a_killed_a_drained_and_a_loading_process_lose_no_request(tmp_path):
    with contextlib.ExitStack() as stack:
        environment = {"EMBEDDING_BACKEND": "fake", "EMBEDDING_CACHE": "off", "EMBEDDING_HOME": str(tmp_path / "home")}
        processes = [stack.enter_context(Process(["serve"], "/ready", **environment)) for _ in range(3)]
        url = stack.enter_context(nginx([process.port for process in processes], tmp_path))
        with Load(url) as load:
            load.more(100)
            processes[0].kill()
            load.more(200)
            processes[0].start()
            load.more(100)
            processes[1].process.terminate()
            processes[1].process.wait(30)
            load.more(200)
            processes[1].start()
            load.more(100)
    assert load.faults == []
