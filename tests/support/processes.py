"""Our own commands as real processes on free ports: the embedded Qdrant and the service."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

import httpx

EMBEDSERVE = [sys.executable, "-m", "embedserve.cli"]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


# For the process of the tests itself (conftest.py); what it starts has all threads.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def clean_environment(**changes: str) -> dict[str, str]:
    """The environment without what would configure us or our libraries, and with `changes`."""
    ours = ("EMBEDDING_", "QDRANT_", *ONE_THREAD)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, **changes}


class Process:
    """`embedserve ARGUMENTS --port PORT`, started, waited for at `ready`, and stopped at the end."""

    def __init__(self, arguments: list[str], ready: str, port: int = 0, **environment: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments, self._ready, self._environment = arguments, ready, environment

    def __enter__(self) -> Process:
        self.start()
        return self

    def start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        command = [*EMBEDSERVE, *self._arguments, "--port", str(self.port)]
        environment = clean_environment(**self._environment)
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
        deadline = time.monotonic() + 60
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                raise AssertionError(f"{command} did not start:\n{self._log.read().decode()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.url + self._ready, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


def embedded_qdrant(storage: Path, **environment: str) -> Process:
    return Process(["qdrant", "--storage", str(storage)], "/readyz", **environment)


def minilm_service(**environment: str) -> Process:
    """The real service on the real MiniLM, no cache on disk."""
    arguments = ["serve", "--model", "all-MiniLM-L6-v2"]
    return Process(arguments, "/ready", **{"EMBEDDING_CACHE": "off", **environment})
