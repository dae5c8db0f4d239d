"""`embedserve qdrant`: run the embedded Qdrant until SIGTERM or Ctrl-C, then flush and exit 0."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import ipaddress
import logging
import os
import sys
from pathlib import Path

from embedserve.errors import MissingExtra, SetupError

DEFAULT_STORAGE = "~/.local/share/embedserve/qdrant"

DRAINS = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, help="port to bind; 0 takes a free one (QDRANT_PORT, else the port of QDRANT_URL; 6333)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    parser.add_argument(
        "--storage",
        type=Path,
        default=Path(os.environ.get("QDRANT_STORAGE", "").strip() or DEFAULT_STORAGE),
        help=f"folder of the collections (QDRANT_STORAGE, else {DEFAULT_STORAGE})",
    )
    parser.add_argument(
        "--api-key",
        default=os.environ.get("QDRANT_API_KEY") or None,
        help="demand this key; better given as the environment variable QDRANT_API_KEY, "
        "since a command line can be read by other users",
    )
    parser.add_argument(
        "--without-api-key",
        action="store_true",
        help="allow an address beyond loopback without a key: anyone who reaches it can read and delete",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further Host name to answer to without a key; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("qdrant_edge") is None:
        raise MissingExtra("the embedded Qdrant", "search")
    if not args.api_key and not args.without_api_key and not _is_loopback(args.host):
        raise SetupError(
            f"{args.host} can be reached from other machines: set QDRANT_API_KEY (or --api-key), "
            "or say --without-api-key if that is meant"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    from embedserve.client_settings import qdrant_port
    from embedserve.vectordb.app import create_app
    from embedserve.vectordb.storage import Storage

    storage = Storage(args.storage.expanduser())
    try:
        app = create_app(storage, args.api_key or None, args.allowed_host)
    except ValueError as error:
        raise SetupError(str(error)) from None
    port = qdrant_port() if args.port is None else args.port
    return _serve(app, args.host, port, storage.folder)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _serve(app: object, host: str, port: int, folder: Path) -> int:
    import asyncio
    import signal
    import socket

    import uvicorn

    from embedserve.web.bounded_http import BoundedHttp

    class Server(uvicorn.Server):
        """Announces itself once it listens, and ends with 0 on a signal rather than by the signal."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()
                print(f"embedded Qdrant on http://{host}:{bound[1]}, storage {folder}", file=sys.stderr, flush=True)

        @contextlib.contextmanager
        def capture_signals(self):  # type: ignore[no-untyped-def]
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=BoundedHttp,
        ws="none",
        timeout_keep_alive=75,  # longer than clients keep a connection, which would else meet a closed one
        timeout_graceful_shutdown=10,
    )
    try:
        server = Server(config)
        server.run()
    except SystemExit:
        raise SetupError(f"cannot listen on {host}:{port}; is something else running there?") from None
    return 0 if server.started else 1
