"""Runs the app on uvicorn: a bounded socket, SIGTERM -> drain -> exit 0, a failed load -> exit 2."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from types import FrameType

import uvicorn

from embedserve.api.app import create_app
from embedserve.errors import SetupError
from embedserve.observability import set_up_logging
from embedserve.runtime import Runtime
from embedserve.settings import Settings

log = logging.getLogger(__name__)

# Of each connection: what clients have not sent or not read sits in kernel memory that the cgroup counts.
_RECEIVE_BUFFER = 128 * 1024
_SEND_BUFFER = 256 * 1024
_BACKLOG = 512
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_UNACKNOWLEDGED_MS = 60_000  # after that a peer that reads nothing loses its connection for good


class _Server(uvicorn.Server):
    """uvicorn re-raises SIGTERM after draining, so that the process dies by it; we exit 0."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime) -> None:
        super().__init__(config)
        self.runtime = runtime

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.runtime.draining = True
        log.info("%s: finishing the requests in work", signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self.runtime.failure is not None:
            return True
        return await super().on_tick(counter)


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns the exit code: 0 after a drain, 2 when a model could not be loaded."""
    set_up_logging(settings.log_level)
    _tame_malloc()
    listener = listen(settings)
    runtime = Runtime(settings)
    config = uvicorn.Config(
        create_app(runtime),
        loop="auto",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.drain_timeout) or None,
        timeout_keep_alive=75,
        ws="none",
    )
    address = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
    log.info("listening on %s (OpenAI base URL: %s/v1)", address, address)
    server = _Server(config, runtime)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
    if runtime.failure is not None:
        print(f"embedserve: {runtime.failure.message}", file=sys.stderr)
        return 2
    return 0


def listen(settings: Settings) -> socket.socket:
    """The bound, listening socket. SetupError names a port that is taken."""
    if not settings.api_key and not _is_loopback(settings.host):
        log.warning(
            "bound to %s without an API key: everybody who reaches this port can use it (EMBEDDING_API_KEY)",
            settings.host,
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit these.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"port {settings.port} is taken by another program; stop it or choose another with --port"
            ) from None
        raise SetupError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tame_malloc() -> None:
    """Two settings against slow growth under glibc.

    Every thread gets an arena of its own and each keeps its high-water mark: two are enough here. And the size from
    which a block has its own mapping, given back when freed, rises by itself to 32 MiB as such blocks are freed:
    bodies, answers and activations would then leave holes in the heap.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_ARENA_MAX, 2)
            libc.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
