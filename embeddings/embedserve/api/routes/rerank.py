"""/rerank, /v1/rerank and /v2/rerank, with the bodies of TEI, Cohere, Jina and Voyage told apart by their fields.

    TEI            {"query", "texts"}                            -> [{"index", "score"}]
    Voyage         {"query", "documents", "top_k", "truncation"} -> {"data": [{"index", "relevance_score"}], "usage"}
    Cohere, Jina   {"query", "documents", "top_n"}               -> {"results": [{"index", "relevance_score"}], "meta"}

The best first. All are scored by the same core, behind the same admission, as embeddings (api/reranking.py).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.bodies import (
    Fields,
    Known,
    Rules,
    boolean,
    check_count,
    check_texts,
    load_object,
    one_of,
    positive,
    string,
    texts,
)
from embedserve.api.declare import Traits, declare
from embedserve.api.embedding import TRUNCATED_HEADER, parsed
from embedserve.api.openapi import INTEGER, NUMBER, array, described, object_of
from embedserve.api.openapi import one_of as any_of
from embedserve.api.reranking import Pairs, Ranking, rank
from embedserve.errors import InvalidRequest

router = APIRouter()

_INLINE_DOCUMENTS = 1024  # an answer of more is written in a thread
_TEI = Known(
    used=("query", "texts", "model", "truncate", "return_text"),
    true={"raw_scores": (False,), "truncation_direction": ("Right", "right")},
)
_DOCUMENTS = Known(
    used=(
        "query",
        "documents",
        "model",
        "top_n",
        "top_k",
        "return_documents",
        "truncation",
        "truncate",
        "max_tokens_per_doc",
    ),
    unused={"priority": int, "user": str, "metadata": dict},
    true={"rank_fields": (["text"],), "max_chunks_per_doc": (1,)},
)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["query", "documents"],
    "properties": {
        "query": {"type": "string"},
        "documents": {
            "type": "array",
            "items": {"oneOf": [{"type": "string"}, {"type": "object", "properties": {"text": {"type": "string"}}}]},
            "description": "TEI's clients call it 'texts'",
        },
        "model": {"type": "string", "description": "Left out: the reranker that is loaded"},
        "top_n": {"type": "integer", "description": "Only so many of the best; also as top_k"},
        "return_documents": {"type": "boolean", "default": False, "description": "TEI: return_text"},
        "truncate": {"type": "boolean", "description": "Left out: as EMBEDDING_OVERLONG says; also as truncation"},
    },
    "example": {"query": "how to add two numbers", "documents": ["def add(a, b): return a + b", "a cat"]},
}
_ROWS = array(object_of("index", index=INTEGER, score=NUMBER, relevance_score=NUMBER))
_OPENAPI = described(body=_SCHEMA, answer=any_of(_ROWS, object_of("model", "usage", results=_ROWS, data=_ROWS)))


@dataclass
class RerankRequest:
    """shape: whose body it is: "tei", "voyage" or "cohere". originals: the documents as they came, in their order."""

    pairs: Pairs
    shape: str
    originals: list[Any]
    with_documents: bool


@router.post("/rerank", summary="Order documents by a query (TEI, Jina, Cohere)", **_OPENAPI)
@declare(Traits(admitted=True, errors="tei"))
async def rerank(request: Request) -> Response:
    """The best first, with the model's own scores. Needs a cross-encoder: EMBEDDING_RERANK_MODEL."""
    return await _answer(request, "1")


@router.post("/v1/rerank", summary="Order documents by a query (Cohere v1, Jina, Voyage)", **_OPENAPI)
@declare(Traits(admitted=True, errors="rerank"))
async def rerank_v1(request: Request) -> Response:
    return await _answer(request, "1")


@router.post("/v2/rerank", summary="Order documents by a query (Cohere v2)", **_OPENAPI)
@declare(Traits(admitted=True, errors="cohere"))
async def rerank_v2(request: Request) -> Response:
    return await _answer(request, "2")


async def _answer(request: Request, version: str) -> Response:
    asked = await parsed(request, parse)
    ranking = await rank(request, asked.pairs)
    render: Callable[[], bytes] = lambda: orjson.dumps(_body(ranking, asked, version))  # noqa: E731
    is_small = len(asked.originals) <= _INLINE_DOCUMENTS
    content = render() if is_small else await asyncio.to_thread(render)
    headers = {TRUNCATED_HEADER: str(ranking.result.truncated)}
    return Response(content, headers=headers, media_type="application/json")


def parse(body: bytes, rules: Rules) -> RerankRequest:
    """Raises InvalidRequest."""
    fields = load_object(body)
    if "texts" in fields and "documents" not in fields:
        return _tei(fields, rules)
    _DOCUMENTS.check(fields)
    query = _query(fields, rules)
    originals, documents = _documents(fields, rules)
    pairs = Pairs(
        query,
        documents,
        model=string(fields, "model"),
        top=one_of(fields, positive, "top_n", "top_k"),
        truncate=one_of(fields, boolean, "truncation", "truncate"),
        document_tokens=positive(fields, "max_tokens_per_doc"),
    )
    # Voyage's client always sends these two, be they null.
    shape = "voyage" if {"top_k", "truncation"} & fields.keys() else "cohere"
    return RerankRequest(pairs, shape, originals, bool(boolean(fields, "return_documents")))


def _tei(fields: Fields, rules: Rules) -> RerankRequest:
    _TEI.check(fields)
    documents = texts(fields, "texts", rules)
    pairs = Pairs(_query(fields, rules), documents, model=string(fields, "model"), truncate=boolean(fields, "truncate"))
    return RerankRequest(pairs, "tei", documents, bool(boolean(fields, "return_text")))


def _query(fields: Fields, rules: Rules) -> str:
    query = string(fields, "query")
    if query is None or (not query and not rules.empty):
        raise InvalidRequest("'query' is missing or empty", param="query")
    return query


def _documents(fields: Fields, rules: Rules) -> tuple[list[Any], list[str]]:
    """The documents as they came, and their texts: strings, or objects whose `text` is taken."""
    originals = fields.get("documents")
    if not isinstance(originals, list) or not originals:
        raise InvalidRequest(
            "'documents' must be a non-empty list of strings, or of objects with 'text'", param="documents"
        )
    check_count(len(originals), "documents", rules)
    found: list[Any] = [one.get("text") if isinstance(one, dict) else one for one in originals]
    check_texts(found, "documents", rules)
    return originals, found


def _body(ranking: Ranking, asked: RerankRequest, version: str) -> Any:
    if asked.shape == "tei":
        return [_row(asked, i, score, "score", "text") for i, score in ranking.best]
    rows = [_row(asked, i, score, "relevance_score", "document") for i, score in ranking.best]
    result = ranking.result
    answer = {
        "object": "list",
        "model": ranking.model.spec.id,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens, "truncated": result.truncated},
    }
    if asked.shape == "voyage":
        return {**answer, "data": rows}
    meta = {
        "api_version": {"version": version},
        "billed_units": {"search_units": 1},
        "tokens": {"input_tokens": result.tokens},
    }
    return {"id": str(uuid.uuid4()), **answer, "results": rows, "meta": meta}


def _row(asked: RerankRequest, place: int, score: float, score_name: str, text_name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"index": place, score_name: score}
    if asked.with_documents:
        original = asked.originals[place]
        wrapped = asked.shape == "cohere" and isinstance(original, str)  # Cohere's and Jina's documents are objects
        row[text_name] = {"text": original} if wrapped else original
    return row
