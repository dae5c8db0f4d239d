"""OpenAI's routes: embeddings and models."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.declare import EMBEDS, declare
from embedserve.api.responses import embeddings_body, json_response, runtime_of
from embedserve.api.schemas import REQUEST_SCHEMA, EmbeddingRequest, parse_request
from embedserve.errors import InvalidRequest, NotReady
from embedserve.models.spec import ModelSpec
from embedserve.serving.runtime import Runtime, ServedModel

_INLINE_BYTES = 256 * 1024  # an answer up to this size is made on the event loop, a larger one in a thread

router = APIRouter()


@router.post(
    "/v1/embeddings",
    summary="Embed texts (OpenAI)",
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": REQUEST_SCHEMA}}}},
)
@router.post("/embeddings", include_in_schema=False)
@declare(EMBEDS)
async def embeddings(request: Request) -> Response:
    """Answers in input order, with exact token usage."""
    runtime = runtime_of(request)
    body = await request.body()
    wanted = (
        await asyncio.to_thread(parse_request, body, runtime.settings.max_inputs)
        if len(body) > _INLINE_BYTES
        else parse_request(body, runtime.settings.max_inputs)
    )
    del body
    model = runtime.find(wanted.model)
    dimension = _dimension(wanted, model.spec)
    truncate = wanted.truncate if wanted.truncate is not None else runtime.settings.overlong == "truncate"
    prefix = _prompt(wanted, model.spec)
    if wanted.texts is not None:
        result = await model.engine.embed(wanted.texts, prefix=prefix, dimension=dimension, truncate=truncate)
    else:
        result = await model.engine.embed_ids(wanted.ids or [], dimension=dimension, truncate=truncate)

    def render() -> bytes:
        return embeddings_body(result.vectors, base64=wanted.base64, model=model.spec.id, tokens=result.tokens)

    size = result.vectors.nbytes * (1 if wanted.base64 else 8)  # floats cost more to write
    content = render() if size <= _INLINE_BYTES else await asyncio.to_thread(render)
    return Response(content, media_type="application/json")


def _dimension(wanted: EmbeddingRequest, spec: ModelSpec) -> int | None:
    if wanted.dimensions is None or wanted.dimensions in spec.dimensions:
        return wanted.dimensions
    allowed = ", ".join(map(str, spec.dimensions))
    raise InvalidRequest(
        f"{spec.id} was not trained for {wanted.dimensions} dimensions; allowed: {allowed}",
        param="dimensions",
    )


def _prompt(wanted: EmbeddingRequest, spec: ModelSpec) -> str:
    if wanted.prompt_name is not None and wanted.input_type is not None:
        raise InvalidRequest("give 'prompt_name' or 'input_type', not both", param="prompt_name")
    param = "prompt_name" if wanted.prompt_name is not None else "input_type"
    name = wanted.prompt_name or wanted.input_type
    if name is None:
        return ""
    if not spec.prompts and param == "input_type" and name in ("query", "document"):
        return ""  # the model makes no difference between them, so nothing is lost
    if name not in spec.prompts:
        known = ", ".join(spec.prompts) or "none: this model has no prompts"
        raise InvalidRequest(f"{spec.id} has no prompt '{name[:64]}'; known: {known}", param=param)
    if wanted.ids is not None:
        raise InvalidRequest("a prompt cannot be put before token ids, which are used exactly as given", param=param)
    return spec.prompts[name]


@router.get("/v1/models", summary="What is served")
async def models(request: Request) -> Response:
    runtime = runtime_of(request)
    if runtime.loading and not runtime.models:
        raise NotReady("the model is loading; try again in a second")
    return json_response({"object": "list", "data": [_describe(runtime, model) for model in runtime.models]})


@router.get("/v1/models/{name:path}", summary="One served model")
async def model(request: Request, name: str) -> Response:
    runtime = runtime_of(request)
    return json_response(_describe(runtime, runtime.find(name)))


def _describe(runtime: Runtime, model: ServedModel) -> dict[str, Any]:
    info = model.engine.backend.info
    return {
        "id": model.spec.id,
        "object": "model",
        "created": int(runtime.started),
        "owned_by": "embedserve",
        "aliases": list(model.spec.names[1:]),
        "default": model is runtime.models[0],
        "dimension": info.dimension,
        "dimensions": list(model.spec.dimensions),
        "max_tokens": model.spec.max_tokens,
        "prompts": sorted(model.spec.prompts),
        "backend": info.name,
        "precision": info.precision,
        "device": info.device,
        "why": info.why,
        "revision": model.revision,
        "origin": model.origin,
        "notice": model.notice or None,
        "artefact": dataclasses.asdict(info.artefact) if info.artefact else None,
    }
