"""GET /v1/models as OpenAI's, with what was understood of each model, and whether it is in memory, beside the id."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve.api.openapi import INTEGER, STRING, array, described, object_of
from embedserve.api.responses import json_response, runtime_of
from embedserve.serving.entry import ModelEntry
from embedserve.serving.runtime import Runtime

router = APIRouter()

_ONE = object_of(
    *("id", "object", "created", "owned_by", "state", "max_tokens"),
    id=STRING,
    object={"const": "model"},
    created=INTEGER,
    state=STRING,
    max_tokens=INTEGER,
)


@router.get("/v1/models", summary="What is served", **described(answer=object_of("object", "data", data=array(_ONE))))
async def models(request: Request) -> Response:
    runtime = runtime_of(request)
    runtime.entry(None)
    data = [one for entry in runtime.entries for one in (_describe(runtime, entry), *_sides(runtime, entry))]
    return json_response({"object": "list", "data": data})


def _sides(runtime: Runtime, entry: ModelEntry) -> list[dict[str, Any]]:
    """The further names of a model with two sides, for clients that can choose nothing but a name."""
    if not entry.model.has_sides:
        return []
    sides = {side: f"{entry.id}-{side}" for side in ("query", "document")}
    return [
        {**_describe(runtime, entry), "id": name, "default": False, "side": side, "aliases": []}
        for side, name in sides.items()
    ]


@router.get("/v1/models/{name:path}", summary="One served model", **described(answer=_ONE))
async def model(request: Request, name: str) -> Response:
    runtime = runtime_of(request)
    return json_response(_describe(runtime, runtime.entry(name)))


def _describe(runtime: Runtime, entry: ModelEntry) -> dict[str, Any]:
    """backend, precision, device and artefact are those of the last load: null as long as there was none."""
    info, spec = entry.info, entry.model
    embeds = spec.task == "embed"
    return {
        "id": spec.id,
        "object": "model",
        "created": int(runtime.started),
        "owned_by": "embedserve",
        "aliases": list(spec.names[1:]),
        "task": "embed" if embeds else "rerank",
        "default": entry is next(one for one in runtime.entries if one.model.task == spec.task),
        "state": entry.state,
        "problem": entry.failure or None,
        "dimension": entry.dimension if embeds else None,
        "dimensions": list(spec.dimensions) if embeds else [],
        "max_tokens": spec.max_tokens,
        "prompts": spec.prompts,
        "default_prompt": spec.default_prompt or None,
        "backend": info.name if info else None,
        "precision": info.precision if info else None,
        "device": info.device if info else None,
        "why": info.why if info else None,
        "revision": entry.revision,
        "origin": entry.origin,
        "notice": entry.notice or None,
        "artefact": dataclasses.asdict(info.artefact) if info and info.artefact else None,
    }
