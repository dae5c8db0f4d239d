"""What every rerank API does between its own body and its own answer: find the cross-encoder, score, order, log.

Scores are the model's own, as sentence-transformers' `CrossEncoder` gives them: between 0 and 1 where the model was
published with a sigmoid, logits where it was published without.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from embedserve import observability as obs
from embedserve.api.responses import runtime_of
from embedserve.engine.engine import Embedded
from embedserve.errors import InvalidRequest
from embedserve.serving.entry import ServedModel

log = logging.getLogger("embedserve.api")


@dataclass
class Pairs:
    """A checked request of any API. top: how many of the best are wanted, None for all. truncate: cut over-long pairs
    (True), refuse them (False), or as EMBEDDING_OVERLONG says (None). document_tokens: what the client lets a document
    be cut at; None: the model's limit."""

    query: str
    documents: list[str]
    model: str | None = None
    top: int | None = None
    truncate: bool | None = None
    document_tokens: int | None = None


@dataclass
class Ranking:
    """best: (place in the request, score) of the best documents, the best first; of equal scores the earlier first."""

    model: ServedModel
    result: Embedded
    best: list[tuple[int, float]]


async def rank(request: Request, pairs: Pairs) -> Ranking:
    """Score each document against the query. Raises RequestError, ServiceError."""
    runtime = runtime_of(request)
    start = time.monotonic()
    truncate = pairs.truncate if pairs.truncate is not None else runtime.settings.overlong == "truncate"
    async with runtime.use(runtime.reranker(pairs.model).id) as model:
        _check(model, pairs)
        result = await model.engine.score(pairs.query, pairs.documents, truncate=truncate)
    scores = result.vectors[:, 0]
    order = np.argsort(-scores, kind="stable")[: pairs.top]
    obs.event(
        log,
        "reranked",
        path=request.url.path,
        model=model.spec.id,
        documents=len(scores),
        tokens=result.tokens,
        cached=result.cached,
        truncated=result.truncated,
        wait_seconds=getattr(request.state, "waited", 0.0),
        compute_seconds=time.monotonic() - start,
    )
    return Ranking(model, result, [(int(i), float(scores[i])) for i in order])


def _check(model: ServedModel, pairs: Pairs) -> None:
    spec = model.spec
    if spec.task == "score" and spec.dimension != 1:
        raise InvalidRequest(
            f"{spec.id} gives {spec.dimension} scores a pair, so it does not say which document is best", param="model"
        )
    if pairs.document_tokens is not None and pairs.document_tokens < spec.max_tokens:
        raise InvalidRequest(
            f"'max_tokens_per_doc' cannot be less than the {spec.max_tokens} tokens of {spec.id}: a pair is cut at the "
            "model's limit; leave it out",
            param="max_tokens_per_doc",
        )
