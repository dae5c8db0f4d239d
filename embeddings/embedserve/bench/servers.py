"""The servers under test: one that is up, or one started here; their memory and CPU time.

Started here: a free port, an own process group, its output in a temporary file (shown when it dies). Cold start is
from the start of the process to the first embedding received, asked for every 20 ms.

Memory is the resident set of the process that listens and of its children, added up (pages they share count
twice), sampled ten times a second. A server on another machine has no such figures.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from embedserve.bench.client import Endpoint, request_body
from embedserve.errors import SetupError

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts" / "bench"
_SAMPLE = 0.1


class Meter:
    """Resident bytes and CPU seconds of a process tree; `peak` since the meter was made."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak = pid, 0
        self._stop = threading.Event()
        self._tree: list[psutil.Process] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def rss(self) -> int:
        """Resident bytes now; 0 once the process has ended."""
        total = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def cpu(self) -> float:
        """User and system seconds of the processes alive now."""
        total = 0.0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def threads(self) -> int:
        total = 0
        for process in self._tree:
            with contextlib.suppress(psutil.Error):
                total += process.num_threads()
        return total

    def _run(self) -> None:
        turns = 0
        while True:
            if turns % 20 == 0:  # looking for children reads the whole process table
                with contextlib.suppress(psutil.Error):
                    root = psutil.Process(self.pid)
                    self._tree = [root, *root.children(recursive=True)]
            self.peak = max(self.peak, self.rss())
            turns += 1
            if self._stop.wait(_SAMPLE):
                return

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def listener(endpoint: Endpoint) -> int | None:
    """The process that listens on the endpoint's port, when it is one of this machine that we may look at."""
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(endpoint.host, endpoint.port)}
        local = {a.address for group in psutil.net_if_addrs().values() for a in group}
        if not addresses & local:
            return None
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == endpoint.port:
                pid: int | None = connection.pid
                return pid
    except (OSError, psutil.Error):
        return None
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class StartedServer:
    """A server process of ours. `cold_start`: seconds from its start to its first embedding."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        port = free_port()
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}/v1")
        self.output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        self.cold_start = 0.0
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--port", str(port)],
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            # Not a session: Linux shares the cores out between sessions (autogroups), and os.nice() of the caller would
            # mean nothing to the server.
            process_group=0,
        )

    def wait(self, timeout: float = 600.0) -> None:
        """Until the first embedding. Raises SetupError with its last lines when it dies or takes too long."""
        connection = Endpoint(self.endpoint.url, timeout=60.0).connect()
        body = request_body(["def add(a, b):\n    return a + b"], None)
        try:
            while True:
                reply = connection.embed(body)
                if reply.status == 200:
                    self.cold_start = time.perf_counter() - self._started
                    return
                if self.process.poll() is not None:
                    raise SetupError(f"{self.name} ended with {self.process.returncode}:\n{self.last_lines()}")
                if 400 <= reply.status < 500 and reply.status != 429:
                    raise SetupError(f"{self.name} refuses the first request: {reply.error()}")
                if time.perf_counter() - self._started > timeout:
                    raise SetupError(f"{self.name} was not ready in {timeout:.0f} s:\n{self.last_lines()}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise
        finally:
            connection.close()

    def last_lines(self, count: int = 15) -> str:
        self.output.seek(0)
        return "\n".join(self.output.read().decode("utf-8", "replace").splitlines()[-count:])

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, then SIGKILL to what is left of its process group. Returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return code


def end_on_sigterm() -> None:
    """SIGTERM ends this program as Ctrl-C does, so that the servers it started are stopped. For a main()."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def own_command(model: str, precision: str = "auto") -> list[str]:
    """`embedserve serve` of the Python that runs this."""
    return [sys.executable, "-m", "embedserve.cli", "serve", "--model", model, "--precision", precision]


def script_command(script: str, *arguments: str, python: str = sys.executable) -> list[str]:
    """A script of scripts/bench, run by `python`. Raises SetupError outside a checkout, where there is none."""
    path = SCRIPTS / script
    if not path.exists():
        raise SetupError(f"{script} is part of the repository, not of the installed package: run from a checkout")
    return [python, str(path), *arguments]
