"""Runs the embedding service: a bounded socket, SIGTERM -> drain -> exit 0, a failed load -> exit 2."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys

import uvicorn

from embedserve.api.app import create_app
from embedserve.errors import SettingsError
from embedserve.observability import set_up_logging
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings
from embedserve.tracing import traced
from embedserve.web.bounded_http import BoundedHttp
from embedserve.web.server import Server, is_loopback, listening, url_of

log = logging.getLogger(__name__)

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def run(settings: Settings) -> int:
    """Serve until told to stop. Returns the exit code: 0 after a drain, 2 when a model could not be loaded."""
    set_up_logging(settings.log_level, settings.log_format)
    _tame_malloc()
    if not settings.api_key and not is_loopback(settings.host):
        log.warning(
            "bound to %s without an API key: everybody who reaches this port can use it (EMBEDDING_API_KEY)",
            settings.host,
        )
    with listening(settings.host, settings.port) as listener:
        runtime = Runtime(settings)
        try:
            app = traced(create_app(runtime))
        except ValueError as error:  # an allowed host or origin that is none
            raise SettingsError(str(error)) from None
        config = uvicorn.Config(
            app,
            loop="auto",
            http=BoundedHttp,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.drain_timeout,  # type: ignore[arg-type]  # asyncio takes fractions and 0
            timeout_keep_alive=75,
            ws="none",
        )
        address = url_of(settings.host, listener)
        log.info("listening on %s (OpenAI base URL: %s/v1)", address, address)

        def drain(signal_name: str) -> None:
            runtime.draining = True
            log.info("%s: finishing the requests in work", signal_name)

        Server(config, on_signal=drain, stop=lambda: runtime.failure is not None).run_on(listener)
    if runtime.interrupted:
        # A library still loads in its thread. The interpreter's own end would pull Python from under it.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
    if runtime.failure is not None:
        print(f"embedserve: {runtime.failure.message}", file=sys.stderr)
        return 2
    return 0


def _tame_malloc() -> None:
    """Two settings against slow growth under glibc.

    Every thread gets an arena of its own, up to eight a core, and each keeps its high-water mark: eight are enough
    here. With two the event loop waited for its arena's lock while threads that tokenise had it, or waited for a core
    with it. And the size from which a block has its own mapping, given back when freed, rises by itself
    to 32 MiB as such blocks are freed: bodies, answers and activations would then leave holes in the heap.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(_M_ARENA_MAX, 8)
            libc.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
