"""create_app: routes and middleware around a Runtime.

LoopWatch -> CanonicalPath -> ErrorShapes -> RequestContext -> CORS (where origins are allowed) -> BrowserGuard
-> ApiKey -> GcMiddleware -> AdmissionMiddleware -> Direct -> FastAPI
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Send

from embedserve import __version__
from embedserve.api.admission import AdmissionMiddleware, AdmissionOptions
from embedserve.api.collector import GcMiddleware
from embedserve.api.context import RequestContext, send_json
from embedserve.api.declare import RouteTable, traits
from embedserve.api.direct import Direct
from embedserve.api.error_shapes import ErrorShapes
from embedserve.api.openapi import document
from embedserve.api.paths import CanonicalPath
from embedserve.api.routes import routers
from embedserve.engine.garbage import only_when_asked
from embedserve.errors import EmbedServeError, InvalidRequest, MethodNotAllowed, RouteNotFound
from embedserve.observability import LOOP_BLOCKED
from embedserve.serving.housekeeping import keep_house
from embedserve.serving.runtime import Runtime
from embedserve.web.api_key import ApiKey
from embedserve.web.browser_guard import BrowserGuard
from embedserve.web.event_loop import LoopWatch


def create_app(runtime: Runtime) -> ASGIApp:
    """The ASGI application. Its lifespan loads the runtime's models unless some were added already."""
    settings = runtime.settings
    app = FastAPI(
        title="embedserve",
        version=__version__,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan(runtime, loaded=lambda: watch.reset()),
    )
    app.state.runtime = runtime
    declared = list(app.routes)
    for router in routers():
        app.include_router(router)
        declared += router.routes
    app.openapi = document(app, declared)  # type: ignore[method-assign]
    app.add_exception_handler(EmbedServeError, _ours)  # type: ignore[arg-type]
    docs = [path for path in (app.openapi_url, app.docs_url, app.swagger_ui_oauth2_redirect_url) if path]
    table = RouteTable(declared, open_paths=docs)
    app.add_exception_handler(HTTPException, _http(table))  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(MemoryError, _pass_on)
    app.add_exception_handler(Exception, _internal)
    wrapped: ASGIApp = AdmissionMiddleware(
        Direct(app),
        admission=runtime.admission,
        options=AdmissionOptions(settings.max_body_bytes, settings.body_timeout, settings.write_timeout),
        refuse=refuse,
        ready=runtime.wait_for_a_model,
        draining=lambda: runtime.draining,
    )
    wrapped = GcMiddleware(wrapped, frozen=lambda: not runtime.loading)
    if settings.api_key:
        wrapped = ApiKey(
            wrapped, key=settings.api_key, error_body=_error_body, is_open=lambda scope: traits(scope).open
        )
    wrapped = BrowserGuard(
        wrapped,
        error_body=_error_body,
        check_host=lambda scope: not settings.api_key or traits(scope).open,
        allowed_hosts=_names(settings.allowed_hosts),
        allowed_origins=_names(settings.allowed_origins),
    )
    if origins := _names(settings.allowed_origins.lower()):
        wrapped = CORSMiddleware(
            wrapped,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],  # a client's SDK sends many of its own
            expose_headers=["X-Embedserve-Truncated", "X-Request-Id", "Retry-After"],
        )
    watch = LoopWatch(CanonicalPath(ErrorShapes(RequestContext(wrapped, table))))
    LOOP_BLOCKED.set_function(lambda: watch.longest)
    return watch


def _lifespan(runtime: Runtime, loaded: Callable[[], None]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    async def load() -> None:
        await runtime.load()
        loaded()  # libraries that are imported hold the interpreter

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with only_when_asked():
            tasks = [asyncio.create_task(keep_house(runtime))]
            if runtime.loading:
                tasks.append(asyncio.create_task(load()))
            yield
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runtime.close()

    return lifespan


async def refuse(send: Send, error: EmbedServeError) -> None:
    """Answer with `error` outside FastAPI."""
    await send_json(send, error.status, orjson.dumps(error.body()), tuple(_headers(error)))


def _error_body(_status: int, error: EmbedServeError) -> bytes:
    return orjson.dumps(error.body())


def _headers(error: EmbedServeError) -> list[tuple[bytes, bytes]]:
    headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.status == 408:  # the rest of the body will not be read
        headers.append((b"connection", b"close"))
    return headers


def _answer(error: EmbedServeError) -> Response:
    headers = {name.decode(): value.decode() for name, value in _headers(error)}
    return Response(orjson.dumps(error.body()), error.status, headers, media_type="application/json")


async def _ours(_request: Request, error: EmbedServeError) -> Response:
    return _answer(error)


def _http(table: RouteTable) -> Callable[[Request, HTTPException], Awaitable[Response]]:
    async def answer(request: Request, error: HTTPException) -> Response:
        method, path = request.method, request.url.path[:200]
        if error.status_code == 404:
            return _answer(RouteNotFound(f"unknown URL: {method} {path}; embeddings are at POST /v1/embeddings"))
        if error.status_code == 405:  # the framework names the methods of one route of the path, not of all
            allowed = ", ".join(table.methods(request.url.path))
            response = _answer(MethodNotAllowed(f"{method} is not allowed on {path}; allowed: {allowed}"))
            response.headers["allow"] = allowed
            return response
        other = EmbedServeError(str(error.detail))
        other.status = error.status_code
        return _answer(other)

    return answer


async def _validation(_request: Request, _error: RequestValidationError) -> Response:
    return _answer(InvalidRequest("the request is not valid"))


async def _pass_on(_request: Request, error: Exception) -> Response:
    """To the admission middleware, whose answer it is; else it would be an internal error."""
    raise error


async def _internal(_request: Request, _error: Exception) -> Response:
    return _answer(EmbedServeError("internal error; the server's log has the details under this request id"))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
