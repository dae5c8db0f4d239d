"""A listening socket and uvicorn around an application: for the embedding service and the embedded Qdrant.

    with listening(host, port) as listener:
        Server(config, on_signal=...).run_on(listener)

SIGTERM and SIGINT end it in good order, and `run_on` returns: the process's exit code is the caller's to give.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from embedserve.errors import SetupError

# Of each connection: what clients have not sent or not read sits in kernel memory that the cgroup counts.
_RECEIVE_BUFFER = 128 * 1024
_SEND_BUFFER = 256 * 1024
_BACKLOG = 512
_UNACKNOWLEDGED_MS = 60_000  # after that a peer that reads nothing loses its connection for good


class Server(uvicorn.Server):
    """uvicorn re-raises SIGTERM after draining, so that the process dies by it; we return.

    on_signal(name): called in the signal handler, before the drain begins. stop(): asked ten times a second; true ends
    the server as a signal does.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_signal: Callable[[str], None] = lambda name: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(config)
        self._on_signal, self._stop = on_signal, stop

    def run_on(self, listener: socket.socket) -> None:
        """Serve until told to stop."""
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets=[listener]))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_signal(signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        return self._stop() or await super().on_tick(counter)


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """The bound, listening socket, closed at the end. SetupError names a port that is taken."""
    listener = listen(host, port)
    try:
        yield listener
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """As `listening`; the caller closes it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle's algorithm on: 40 ms for each answer that is two writes.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit these.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"port {port} is taken by another program; stop it or choose another with --port"
            ) from None
        raise SetupError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url_of(host: str, listener: socket.socket) -> str:
    """http://host:port, as a person may type it."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
