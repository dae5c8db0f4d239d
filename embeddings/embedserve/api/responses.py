"""What the routes share: the runtime, and answers as bytes without Python lists of floats."""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
import orjson
from fastapi import Request
from fastapi.responses import Response

from embedserve.backends.base import Vectors
from embedserve.serving.runtime import Runtime


def embeddings_body(vectors: Vectors, *, base64: bool, model: str, tokens: int) -> bytes:
    """vectors: (n, d) float32. base64 is of little-endian float32 (RFC 4648, padded)."""
    if base64:
        rows = [
            b'"%b"' % binascii.b2a_base64(row.tobytes(), newline=False) for row in vectors.astype("<f4", copy=False)
        ]
    else:
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in np.ascontiguousarray(vectors)]
    data = b",".join(b'{"object":"embedding","index":%d,"embedding":%b}' % (i, row) for i, row in enumerate(rows))
    return b'{"object":"list","data":[%b],"model":%b,"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
        data,
        orjson.dumps(model),
        tokens,
        tokens,
    )


def json_response(content: Any) -> Response:
    """A complete 200 answer."""
    return Response(orjson.dumps(content, default=str), media_type="application/json")


def runtime_of(request: Request) -> Runtime:
    """What the application that got this request works on."""
    runtime: Runtime = request.app.state.runtime
    return runtime
