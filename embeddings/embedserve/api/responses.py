"""What the routes share: the runtime, and small answers."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import orjson
from fastapi import Request
from fastapi.responses import Response

from embedserve.serving.runtime import Runtime


def json_response(content: Any) -> Response:
    """A complete 200 answer."""
    return Response(orjson.dumps(content, default=str), media_type="application/json")


def rows_json(rows: npt.NDArray[Any]) -> bytes:
    """A list of lists of numbers. A call for each row: orjson holds the interpreter as long as one call takes."""
    return b"[%b]" % b",".join(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in rows)


def runtime_of(request: Request) -> Runtime:
    """What the application that got this request works on."""
    runtime: Runtime = request.app.state.runtime
    return runtime
