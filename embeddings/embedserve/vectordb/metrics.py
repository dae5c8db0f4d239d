"""GET /metrics in Prometheus' text format: two of Qdrant's metrics under its names, and one of ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from embedserve.vectordb.storage import Storage


def metrics(version: str, storage: Storage, blocked: Callable[[], float]) -> Callable[[Request], Awaitable[object]]:
    """The endpoint. blocked: seconds of the event loop's longest block (`web.event_loop`)."""

    async def endpoint(_request: Request) -> PlainTextResponse:
        found = [
            ("app_info", "information about qdrant server", f'{{name="qdrant",version="{version}"}} 1'),
            ("collections_total", "number of collections", f" {len(storage.names())}"),
            (
                "embedserve_event_loop_blocked_max_seconds",
                "longest time that the event loop was blocked while requests were in flight",
                f" {blocked():.6f}",
            ),
        ]
        lines = [f"# HELP {name} {what}\n# TYPE {name} gauge\n{name}{value}\n" for name, what, value in found]
        return PlainTextResponse("".join(lines), media_type="text/plain; version=0.0.4")

    return endpoint
