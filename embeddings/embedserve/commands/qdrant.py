"""`embedserve qdrant`: run the embedded Qdrant until SIGTERM or Ctrl-C, then flush and exit 0."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedserve.client_settings import DEFAULT_STORAGE, storage
from embedserve.errors import MissingExtra, SetupError

DRAINS = True


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, help="port to bind; 0 takes a free one (QDRANT_PORT, else the port of QDRANT_URL; 6333)"
    )
    parser.add_argument(
        "--grpc-port",
        help="port of gRPC; `off` leaves it out (QDRANT_GRPC_PORT, else the one after --port: 6334)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (default 127.0.0.1)")
    parser.add_argument(
        "--storage",
        type=Path,
        default=Path(storage()),
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
    from embedserve.web.server import is_loopback

    if importlib.util.find_spec("qdrant_edge") is None:
        raise MissingExtra("the embedded Qdrant", "search")
    if not args.api_key and not args.without_api_key and not is_loopback(args.host):
        raise SetupError(
            f"{args.host} can be reached from other machines: set QDRANT_API_KEY (or --api-key), "
            "or say --without-api-key if that is meant"
        )
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    from embedserve.client_settings import grpc_port, qdrant_port
    from embedserve.vectordb.app import create_app, new_slots
    from embedserve.vectordb.storage import Storage

    port = qdrant_port() if args.port is None else args.port
    environ = os.environ if args.grpc_port is None else {"QDRANT_GRPC_PORT": args.grpc_port}
    storage, key, slots = Storage(args.storage.expanduser()), args.api_key or None, new_slots()

    def make_grpc() -> Any:
        from embedserve.vectordb.grpc_api.server import GrpcServer

        return GrpcServer(storage, slots, key)

    try:
        grpc = _Grpc(args.host, *grpc_port(port, environ), make_grpc)
        app = create_app(storage, key, args.allowed_host, slots=slots)
    except ValueError as error:
        raise SetupError(str(error)) from None
    return _serve(app, args.host, port, grpc, storage.folder)


def _serve(app: object, host: str, port: int, grpc: _Grpc, folder: Path) -> int:
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
                await grpc.start()
                self.should_exit |= grpc.failure is not None

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await grpc.stop()  # before the storage is closed
            await super().shutdown(sockets)

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
    if grpc.failure is not None:
        raise grpc.failure
    return 0 if server.started else 1


class _Grpc:
    """gRPC beside REST, loaded once REST serves. `failure`: it was asked for and cannot be had."""

    def __init__(self, host: str, port: int | None, asked: bool, make: Callable[[], Any]) -> None:
        self.host, self.port, self.asked, self.make = host, port, asked, make
        self.failure: SetupError | None = None
        self._server: Any = None

    async def start(self) -> None:
        import asyncio

        if self.port is None:
            return
        try:
            # libraries: 0.15 s in which REST answers already
            self._server = await asyncio.to_thread(self.make)
            await self._server.start(self.host, self.port)
        except SetupError as error:
            self._server = None
            if self.asked:
                self.failure = SetupError(f"{error}; QDRANT_GRPC_PORT moves it, and off leaves gRPC out")
            else:
                print(f"gRPC is NOT served: {error} QDRANT_GRPC_PORT moves it", file=sys.stderr, flush=True)
            return
        print(f"gRPC on {self.host}:{self._server.port}", file=sys.stderr, flush=True)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
