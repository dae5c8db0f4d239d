"""POST /embed, one path with two bodies, told apart by their fields.

    Doctown's worker   {"batch_id", "chunks": [{"chunk_id", "content"}]}
                       -> {"batch_id", "vectors": [{"chunk_id", "vector"}]}
    TEI                {"inputs": "..." or ["...", ...]}
                       -> [[...], ...]

Both are embedded by the same core, behind the same admission, as /v1/embeddings (api/embedding.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve import observability as obs
from embedserve.api.bodies import Fields, Known, Rules, boolean, check_count, load_object, positive, string, texts
from embedserve.api.declare import EMBEDS, declare
from embedserve.api.embedding import Answer, Wanted, embed, parsed
from embedserve.api.openapi import STRING, VECTOR, VECTORS, array, described, object_of, one_of
from embedserve.api.responses import json_response, runtime_of
from embedserve.errors import InvalidRequest

log = logging.getLogger("embedserve.api")
router = APIRouter()

_LOGGED = 64  # characters of a batch's id in the log
_TEI = Known(
    used=("inputs", "model", "truncate", "prompt_name", "dimensions", "normalize"),
    true={"truncation_direction": ("Right", "right")},
)
_DOCTOWN = Known(used=("batch_id", "chunks"))
_SCHEMA: dict[str, Any] = {
    "oneOf": [
        {
            "title": "Doctown",
            "type": "object",
            "required": ["batch_id", "chunks"],
            "properties": {
                "batch_id": {"type": "string"},
                "chunks": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["chunk_id", "content"],
                        "properties": {"chunk_id": {"type": "string"}, "content": {"type": "string"}},
                    },
                },
            },
        },
        {
            "title": "TEI",
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "inputs": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                "truncate": {"type": "boolean", "description": "Left out: as EMBEDDING_OVERLONG says"},
                "prompt_name": {"type": "string"},
                "dimensions": {"type": "integer"},
                "normalize": {
                    "type": "boolean",
                    "default": True,
                    "description": "false: only of models whose own vectors are unit vectors",
                },
            },
        },
    ]
}

_VECTORS_BY_ID = object_of(
    *("batch_id", "vectors"),
    batch_id=STRING,
    vectors=array(object_of("chunk_id", "vector", chunk_id=STRING, vector=VECTOR)),
)


@dataclass
class Batch:
    """Doctown's request. The lists are of equal length; ids are distinct."""

    batch_id: str
    chunk_ids: list[str]
    contents: list[str]

    @property
    def shown(self) -> str:
        """The id as it may stand in a line of the log."""
        return "".join(c if c.isprintable() and c != " " else "?" for c in self.batch_id[:_LOGGED])


@router.post(
    "/embed",
    summary="Embed texts (Doctown's worker, TEI)",
    **described(body=_SCHEMA, answer=one_of(VECTORS, _VECTORS_BY_ID)),
)
@declare(EMBEDS)
async def embed_texts(request: Request) -> Response:
    """Answers in the shape that belongs to the body's, in input order, ids kept."""
    asked = await parsed(request, parse_request)
    if isinstance(asked, Batch):
        return await _doctown(request, asked)
    answer = await embed(request, asked)
    return await answer.response(_rendered(answer))


def parse_request(body: bytes, rules: Rules) -> Batch | Wanted:
    """Raises InvalidRequest."""
    fields = load_object(body)
    is_batch = "chunks" in fields or "batch_id" in fields
    if is_batch and "inputs" in fields:
        raise InvalidRequest("give 'inputs', or 'batch_id' and 'chunks', not both", param="inputs")
    if is_batch:
        return _batch(fields, rules)
    return parse_tei(fields, rules)


def parse_tei(fields: Fields, rules: Rules) -> Wanted:
    """Raises InvalidRequest."""
    if "inputs" not in fields:
        raise InvalidRequest("'inputs' is missing (or 'batch_id' and 'chunks', as Doctown sends)", param="inputs")
    _TEI.check(fields)
    return Wanted(
        texts=texts(fields, "inputs", rules),
        model=string(fields, "model"),
        truncate=boolean(fields, "truncate"),
        prompt_name=string(fields, "prompt_name"),
        dimensions=positive(fields, "dimensions"),
        raw=boolean(fields, "normalize") is False,
    )


def _batch(fields: Fields, rules: Rules) -> Batch:
    _DOCTOWN.check(fields)
    batch_id, chunks = string(fields, "batch_id"), fields.get("chunks")
    if batch_id is None:
        raise InvalidRequest("'batch_id' is missing", param="batch_id")
    if not isinstance(chunks, list):
        raise InvalidRequest("'chunks' must be a list of objects with 'chunk_id' and 'content'", param="chunks")
    check_count(len(chunks), "chunks", rules)
    places: dict[str, int] = {}
    contents = []
    for i, chunk in enumerate(chunks):
        chunk_id, content = (_text_of(chunk, i, name) for name in ("chunk_id", "content"))
        if chunk_id in places:
            raise InvalidRequest(
                f"'chunks' elements {places[chunk_id]} and {i} have the same 'chunk_id'", param="chunks"
            )
        places[chunk_id] = i
        contents.append(content)
    return Batch(batch_id, list(places), contents)


def _text_of(chunk: Any, index: int, name: str) -> str:
    """A chunk's field; what else a chunk carries (a path, a language) is its sender's own affair."""
    if not isinstance(chunk, dict):
        raise InvalidRequest(f"'chunks' element {index} is not an object", param="chunks")
    value = chunk.get(name)
    if not isinstance(value, str):
        raise InvalidRequest(f"'chunks' element {index}: '{name}' must be a string", param="chunks")
    return value


async def _doctown(request: Request, batch: Batch) -> Response:
    if not batch.contents:
        runtime_of(request).entry(None)  # a batch of nothing, too, is refused while nothing is served
        return json_response({"batch_id": batch.batch_id, "vectors": []})
    obs.event(log, "batch_started", batch=batch.shown, chunks=len(batch.contents))
    start = time.monotonic()
    done = "batch_failed"
    try:
        answer = await embed(request, Wanted(texts=batch.contents))
        response = await answer.response(_rendered(answer, batch))
        done = "batch_completed"
    finally:
        seconds = time.monotonic() - start
        obs.event(log, done, batch=batch.shown, chunks=len(batch.contents), seconds=seconds)
    return response


def _rendered(answer: Answer, batch: Batch | None = None) -> Callable[[], bytes]:
    def render() -> bytes:
        rows = [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in answer.vectors]
        if batch is None:
            return b"[%b]" % b",".join(rows)
        vectors = b",".join(
            b'{"chunk_id":%b,"vector":%b}' % (orjson.dumps(one), row)
            for one, row in zip(batch.chunk_ids, rows, strict=True)
        )
        return b'{"batch_id":%b,"vectors":[%b]}' % (orjson.dumps(batch.batch_id), vectors)

    return render
