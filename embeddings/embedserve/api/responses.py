"""The embeddings answer as bytes: base64 straight from the array, floats by orjson's numpy support, no Python lists."""

from __future__ import annotations

import binascii

import numpy as np
import orjson

from embedserve.backends.base import Vectors


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
