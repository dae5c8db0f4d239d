"""What the routes share: the runtime, and small answers."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response

from embedserve.serving.runtime import Runtime


def json_response(content: Any) -> Response:
    """A complete 200 answer."""
    return Response(orjson.dumps(content, default=str), media_type="application/json")


def runtime_of(request: Request) -> Runtime:
    """What the application that got this request works on."""
    runtime: Runtime = request.app.state.runtime
    return runtime
