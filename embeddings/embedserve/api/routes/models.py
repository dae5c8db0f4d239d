"""GET /v1/models as OpenAI's, with what was understood of each model beside the id."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.responses import json_response, runtime_of
from embedserve.errors import NotReady
from embedserve.serving.runtime import Runtime, ServedModel

router = APIRouter()


@router.get("/v1/models", summary="What is served")
async def models(request: Request) -> Response:
    runtime = runtime_of(request)
    if runtime.loading and not runtime.models:
        raise NotReady("the model is loading; try again in a few seconds")
    data = [one for model in runtime.models for one in (_describe(runtime, model), *_sides(runtime, model))]
    return json_response({"object": "list", "data": data})


def _sides(runtime: Runtime, model: ServedModel) -> list[dict[str, Any]]:
    """The further names of a model with two sides, for clients that can choose nothing but a name."""
    if not model.spec.has_sides:
        return []
    sides = {side: f"{model.spec.id}-{side}" for side in ("query", "document")}
    return [
        {**_describe(runtime, model), "id": name, "default": False, "side": side, "aliases": []}
        for side, name in sides.items()
    ]


@router.get("/v1/models/{name:path}", summary="One served model")
async def model(request: Request, name: str) -> Response:
    runtime = runtime_of(request)
    return json_response(_describe(runtime, runtime.find(name)))


def _describe(runtime: Runtime, model: ServedModel) -> dict[str, Any]:
    info = model.engine.backend.info
    embeds = model.spec.task == "embed"
    return {
        "id": model.spec.id,
        "object": "model",
        "created": int(runtime.started),
        "owned_by": "embedserve",
        "aliases": list(model.spec.names[1:]),
        "task": "rerank" if model.spec.task == "score" else "embed",
        "default": model is next(one for one in runtime.models if one.spec.task == model.spec.task),
        "dimension": info.dimension if embeds else None,
        "dimensions": list(model.spec.dimensions) if embeds else [],
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
