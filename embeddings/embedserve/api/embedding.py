"""What every embedding API does between its own body and its own answer: find the model, embed, count, log.

An adapter parses its body into a `Wanted`, awaits `embed`, and writes an `Answer` in its own shape. So the APIs cannot
differ in models, prompts, dimensions, cutting, usage, the `X-Embedserve-Truncated` header and the log line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from fastapi.responses import Response

from embedserve import observability as obs
from embedserve.api.bodies import Rules
from embedserve.api.responses import runtime_of
from embedserve.backends.base import TokenIds, Vectors
from embedserve.engine.engine import Embedded
from embedserve.errors import InvalidRequest
from embedserve.models import names, prompts
from embedserve.models.spec import ModelSpec
from embedserve.recent import RECENT
from embedserve.serving.entry import ServedModel

log = logging.getLogger("embedserve.api")

TRUNCATED_HEADER = "X-Embedserve-Truncated"
_INLINE_BYTES = 256 * 1024  # a body or an answer up to this size is worked on the event loop, a larger one in a thread

_T = TypeVar("_T")


@dataclass
class Wanted:
    """A checked request of any API. Exactly one of `texts` and `ids` is set.

    truncate: cut over-long texts (True), refuse them (False), or as EMBEDDING_OVERLONG says (None).
    raw: not normalised, which only a model is whose own vectors are unit vectors.
    """

    texts: list[str] | None = None
    ids: list[TokenIds] | None = None
    model: str | None = None
    dimensions: int | None = None
    input_type: str | None = None
    prompt_name: str | None = None
    title: str | None = None
    truncate: bool | None = None
    raw: bool = False


@dataclass
class Answer:
    """vectors: (n, dimension) float32 unit rows in input order."""

    model: ServedModel
    result: Embedded
    seconds: float  # computing, tokenising and the cache included

    @property
    def vectors(self) -> Vectors:
        return self.result.vectors

    async def response(self, render: Callable[[], bytes], numbers: bool = True) -> Response:
        """The HTTP answer; `render` makes its body. numbers: whether that writes floats out as decimals."""
        size = self.vectors.nbytes * (8 if numbers else 1)
        content = render() if size <= _INLINE_BYTES else await asyncio.to_thread(render)
        headers = {TRUNCATED_HEADER: str(self.result.truncated)}
        return Response(content, headers=headers, media_type="application/json")


async def parsed(request: Request, parse: Callable[[bytes, Rules], _T]) -> _T:
    """`parse(body, rules)`, in a thread when the body is large."""
    settings = runtime_of(request).settings
    rules = Rules(settings.max_inputs, settings.empty == "embed")
    body = await request.body()
    return parse(body, rules) if len(body) <= _INLINE_BYTES else await asyncio.to_thread(parse, body, rules)


async def embed(request: Request, wanted: Wanted) -> Answer:
    """Embed what is wanted. Raises RequestError, ServiceError."""
    runtime = runtime_of(request)
    start = time.monotonic()
    truncate = wanted.truncate if wanted.truncate is not None else runtime.settings.overlong == "truncate"
    async with runtime.use(wanted.model) as model:
        if wanted.raw and not model.spec.normalizes:
            raise InvalidRequest("'normalize' can only be true here: every vector has length 1", param="normalize")
        dimension = prompts.dimension(model.spec, wanted.dimensions)
        prefix = _prefix(wanted, model.spec)
        if wanted.texts is not None:
            result = await model.engine.embed(wanted.texts, prefix=prefix, dimension=dimension, truncate=truncate)
        else:
            result = await model.engine.embed_ids(wanted.ids or [], dimension=dimension, truncate=truncate)
    answer = Answer(model, result, time.monotonic() - start)
    obs.event(
        log,
        "embedded",
        path=request.url.path,
        model=model.spec.id,
        texts=len(result.vectors),
        tokens=result.tokens,
        cached=result.cached,
        truncated=result.truncated,
        wait_seconds=getattr(request.state, "waited", 0.0),
        compute_seconds=answer.seconds,
    )
    RECENT.embedded(request.headers.get("user-agent", ""), len(result.vectors))
    return answer


def _prefix(wanted: Wanted, spec: ModelSpec) -> str:
    """The prompt to put before each text, "" for none."""
    prefix = prompts.prefix(
        spec,
        input_type=wanted.input_type,
        prompt_name=wanted.prompt_name,
        title=wanted.title,
        side=names.side(spec, wanted.model or "") or "",
    )
    if prefix and wanted.ids is not None:
        raise InvalidRequest(
            "a prompt cannot be put before token ids, which are used exactly as given",
            param="prompt_name" if wanted.prompt_name else "input_type",
        )
    return prefix
