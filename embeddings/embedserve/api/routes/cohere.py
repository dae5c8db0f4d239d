"""Cohere's embed calls (v1 and v2) over the same engine: texts only."""

from __future__ import annotations

import binascii
import uuid
from dataclasses import dataclass

import numpy as np
import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.bodies import Fields, Known, Rules, load_object, positive, string, texts
from embedserve.api.declare import Traits, declare
from embedserve.api.embedding import Answer, Wanted, embed, parsed
from embedserve.api.openapi import INTEGER, MODEL, STRING, TEXTS, VECTORS, array, described, object_of, one_of
from embedserve.api.quantized import OUTPUT_TYPES, quantized
from embedserve.api.responses import rows_json
from embedserve.api.routes.openai import truncate_word
from embedserve.errors import InvalidRequest

router = APIRouter()

_POST = Traits(admitted=True, errors="cohere")
_KINDS = (*OUTPUT_TYPES, "base64")
_KNOWN = Known(
    used=("texts", "model", "input_type", "embedding_types", "truncate", "output_dimension"),
    unused={"priority": int},
    true={"stream": (False,)},
)

_BODY = object_of(
    "texts",
    texts=TEXTS,
    model=MODEL,
    input_type=STRING,
    embedding_types=array({"enum": list(_KINDS)}),
    truncate={"enum": ["NONE", "END"]},
    output_dimension=INTEGER,
)
_ANSWER = object_of(
    *("id", "embeddings", "texts", "meta", "response_type"),
    id=STRING,
    embeddings=one_of(VECTORS, {"type": "object", "additionalProperties": one_of(VECTORS, array(STRING))}),
    texts=array(STRING),
    meta={"type": "object"},
    response_type=STRING,
)


@dataclass
class CohereRequest:
    """What to embed. kinds: the types of numbers wanted, of _KINDS; empty when the request does not say."""

    wanted: Wanted
    kinds: list[str]


def parse(body: bytes, rules: Rules) -> CohereRequest:
    """Raises InvalidRequest."""
    fields = load_object(body)
    for name in ("images", "inputs"):
        if fields.get(name):
            raise InvalidRequest(f"'{name}' is not taken here: only 'texts' are embedded", param=name)
        fields.pop(name, None)
    _KNOWN.check(fields)
    word = string(fields, "truncate")
    wanted = Wanted(
        texts=texts(fields, "texts", rules),
        model=string(fields, "model"),
        dimensions=positive(fields, "output_dimension"),
        input_type=string(fields, "input_type"),
        truncate=None if word is None else truncate_word(word, "truncate"),
    )
    return CohereRequest(wanted, _kinds(fields))


def _kinds(fields: Fields) -> list[str]:
    kinds = fields.get("embedding_types")
    if kinds is None:
        return []
    if not isinstance(kinds, list) or any(kind not in _KINDS for kind in kinds):
        raise InvalidRequest(f"'embedding_types' must be a list of {', '.join(_KINDS)}", param="embedding_types")
    return kinds


@router.post("/v2/embed", summary="Embed texts (Cohere v2)", **described(body=_BODY, answer=_ANSWER))
@declare(_POST)
async def embed_v2(request: Request) -> Response:
    """Always by type; float when no type is asked for."""
    asked = await parsed(request, parse)
    answer = await embed(request, asked.wanted)
    return await answer.response(lambda: _by_type(answer, asked, "2"))


@router.post("/v1/embed", summary="Embed texts (Cohere v1)", **described(body=_BODY, answer=_ANSWER))
@declare(_POST)
async def embed_v1(request: Request) -> Response:
    """A plain list of vectors when no type is asked for."""
    asked = await parsed(request, parse)
    answer = await embed(request, asked.wanted)
    if asked.kinds:
        return await answer.response(lambda: _by_type(answer, asked, "1"))
    return await answer.response(lambda: _written(answer, asked, "1", "embeddings_floats", _rows(answer, "float")))


def _by_type(answer: Answer, asked: CohereRequest, version: str) -> bytes:
    kinds = dict.fromkeys(asked.kinds or ["float"])
    embeddings = b",".join(b'"%b":%b' % (kind.encode(), _rows(answer, kind)) for kind in kinds)
    return _written(answer, asked, version, "embeddings_by_type", b"{%b}" % embeddings)


def _rows(answer: Answer, kind: str) -> bytes:
    """The vectors as JSON: numbers, or base64 of little-endian float32."""
    if kind == "base64":
        little = answer.vectors.astype("<f4", copy=False)
        return orjson.dumps([binascii.b2a_base64(row.tobytes(), newline=False).decode() for row in little])
    return rows_json(np.ascontiguousarray(quantized(answer.vectors, kind)))


def _written(answer: Answer, asked: CohereRequest, version: str, kind: str, embeddings: bytes) -> bytes:
    rest = {
        "id": str(uuid.uuid4()),
        "texts": asked.wanted.texts,
        "meta": {"api_version": {"version": version}, "billed_units": {"input_tokens": answer.result.tokens}},
        "response_type": kind,
    }
    return b'{"embeddings":%b,%b' % (embeddings, orjson.dumps(rest)[1:])
