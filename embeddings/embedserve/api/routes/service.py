"""The routes about the service itself: health, readiness, metrics. All answer without an API key."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from embedserve import observability as obs
from embedserve.api.declare import OPEN, declare
from embedserve.api.openapi import STRING, described, object_of
from embedserve.api.responses import json_response, runtime_of
from embedserve.errors import NotReady
from embedserve.serving.status import health as health_of

router = APIRouter()


@router.get("/health", summary="The process and its models", **described(answer={"type": "object"}))
@declare(OPEN)
async def health(request: Request) -> Response:
    """200 as long as the process answers; see /ready for whether it can embed."""
    return json_response(health_of(runtime_of(request)))


@router.get(
    "/ready", summary="200 when warm and well, else 503", **described(answer=object_of("status", status=STRING))
)
@declare(OPEN)
async def ready(request: Request) -> Response:
    if problem := runtime_of(request).problem:
        raise NotReady(problem)
    return json_response({"status": "ready"})


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
@declare(OPEN)
async def metrics() -> Response:
    return Response(obs.metrics_text(), media_type="text/plain; version=0.0.4")
