"""The HTTP application: Qdrant's envelope {"result", "status", "time"}, its error shape, health, the guards.

Wraps the handlers of `routes`, which return the result or raise ApiError. Bodies are bounded in size and time; 16 of
reads and 16 of writes are in memory at once, counted apart so that a search never waits for a writer. Large JSON is
read and written in threads and in pieces (`big_json`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from embedserve.errors import EmbedServeError
from embedserve.observability import Lines
from embedserve.vectordb import big_json
from embedserve.vectordb.access_log import AccessLog
from embedserve.vectordb.call import Call
from embedserve.vectordb.errors import ApiError, format_error, unsupported, wrong_input
from embedserve.vectordb.metrics import metrics
from embedserve.vectordb.routes import NOT_SERVED, ROUTES, Handler, is_write
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.threads import Kind, panics_as_errors, run
from embedserve.vectordb.upload import Upload
from embedserve.web.api_key import ApiKey
from embedserve.web.browser_guard import BrowserGuard
from embedserve.web.event_loop import LoopWatch

log = logging.getLogger(__name__)

API_VERSION = "1.20.0"  # of the Qdrant whose API this is a part of; clients compare it with their own
MAX_BODY = 32 << 20  # Qdrant's own default
BODY_SECONDS = 30.0
BODIES = 16
OPEN_PATHS = ("/", "/healthz", "/livez", "/readyz")

_QUERY_PARAMETERS = {"wait", "ordering", "timeout", "consistency", "priority", "checksum"}


Slots = dict[bool, asyncio.Semaphore]
"""For bodies of writes (True) and of reads."""


def new_slots() -> Slots:
    return {True: asyncio.Semaphore(BODIES), False: asyncio.Semaphore(BODIES)}


def create_app(
    storage: Storage,
    api_key: str | None = None,
    allowed_hosts: Iterable[str] = (),
    max_body: int = MAX_BODY,
    slots: Slots | None = None,
) -> ASGIApp:
    """The application; opens the storage at start-up and closes it at shutdown. ValueError: a wrong host name.

    `slots`: to be shared with gRPC.
    """
    slots = slots or new_slots()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await storage.open()
        try:
            yield
        finally:
            await storage.close()

    routes = [
        Route(path, _answer(h, storage, slots[is_write(m, path)], max_body), methods=[m]) for m, path, h in ROUTES
    ]
    for path, text in _HEALTH.items():
        routes.append(Route(path, PlainTextResponse(text)))
    routes.append(Route("/", Response(orjson.dumps(_VERSION), media_type="application/json")))
    routes.append(Route("/metrics", metrics(API_VERSION, storage, lambda: watch.longest)))
    routes.append(Route("/{path:path}", _unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]))
    app: ASGIApp = Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _unknown, 405: _unknown})
    if api_key is not None:
        app = ApiKey(app, key=api_key, error_body=_error_body, is_open=lambda scope: scope["path"] in OPEN_PATHS)
    guarded = BrowserGuard(
        app,
        error_body=_error_body,
        check_host=lambda scope: api_key is None or scope["path"] in OPEN_PATHS,
        allowed_hosts=allowed_hosts,
        takes_files=lambda scope: scope["path"].endswith("/snapshots/upload"),
    )
    watch = LoopWatch(AccessLog(guarded))
    return watch


_HEALTH = {
    "/healthz": "healthz check passed",
    "/livez": "healthz check passed",
    "/readyz": "all shards are ready",
}
_VERSION = {"title": "qdrant - vector search engine", "version": API_VERSION, "commit": "embedserve on Qdrant Edge"}


def _error_body(_status: int, error: EmbedServeError) -> bytes:
    return orjson.dumps({"status": {"error": error.message}, "time": 0.0})


def _answer(
    handler: Handler, storage: Storage, slots: asyncio.Semaphore, max_body: int
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        status = 200
        try:
            call = _call(request)
            with panics_as_errors():
                if request.method in ("POST", "PUT", "PATCH"):
                    async with slots:
                        result = await handler(storage, call, await _read(request, max_body))
                else:
                    result = await handler(storage, call, None)
            if isinstance(result, Response):
                return result
            reply: dict[str, Any] = {"result": result, "status": "ok"}
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            status, message = explain(error, f"{request.method} {request.scope['route'].path}")
            reply = {"status": {"error": message}}
        reply["time"] = time.perf_counter() - started
        return Response(await _written(reply), status, media_type="application/json")

    return endpoint


def explain(error: Exception, where: str) -> tuple[int, str]:
    """The status and message of whatever a handler raised; what is our own fault is logged with its place."""
    if isinstance(error, ApiError):
        return error.status, error.message
    if isinstance(error, RecursionError):
        return 400, "Format error in JSON body: nested too deeply"
    place = Lines("".join(traceback.format_tb(error.__traceback__)))  # its message may hold a user's text
    log.error("%s: %s\n%s", where, type(error).__name__, place)
    return 500, f"Service internal error: {error}"


async def _written(reply: dict[str, Any]) -> bytes:
    result = reply.get("result")
    inner = result.get("points") if isinstance(result, dict) else result
    if not isinstance(inner, list) or len(inner) <= 64:
        return b"".join(big_json.dumps(reply))
    return await run(Kind.READ, lambda: b"".join(big_json.dumps(reply)))


async def _read(request: Request, max_body: int) -> Any:
    """The JSON, or a file that is not read yet: the guard lets one pass only where it is expected."""
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        return Upload(content_type, request.stream())
    return await _read_json(request, max_body)


async def _read_json(request: Request, limit: int) -> Any:
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise ApiError(408, f"Timeout: the body did not come within {BODY_SECONDS:.0f} s") from None
    if not body:
        return None
    text = bytes(body[3:] if body[:3] == b"\xef\xbb\xbf" else body)
    del body
    try:
        if len(text) <= big_json.PIECE:
            return orjson.loads(text)
        return await run(Kind.READ, partial(big_json.loads, text))
    except orjson.JSONDecodeError as error:
        raise format_error(str(error)) from None


def _too_large(limit: int) -> ApiError:
    # Made where it is raised: a name for it in the frame that raises is a cycle, and keeps the body until a collection.
    return ApiError(413, f"Payload error: JSON payload is larger than allowed (limit: {limit} bytes)")


def _call(request: Request) -> Call:
    unknown = set(request.query_params) - _QUERY_PARAMETERS
    if unknown:
        raise wrong_input(f"unknown query parameter `{min(unknown)}`")
    if request.query_params.get("wait", "true") not in ("true", "false"):
        raise wrong_input("the query parameter `wait` must be true or false")
    return Call(dict(request.path_params), request.query_params.get("wait") == "true", dict(request.query_params))


async def _unknown(request: Request, _error: Exception | None = None) -> Response:
    path = request.url.path
    feature = next((feature for pattern, feature in NOT_SERVED if pattern.fullmatch(path)), None)
    error = unsupported(feature) if feature else ApiError(404, f"Not found: no endpoint {request.method} {path}")
    return Response(_error_body(error.status, error), error.status, media_type="application/json")
