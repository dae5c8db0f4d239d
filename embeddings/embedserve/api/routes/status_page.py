"""The live status page at `/`, and the figures behind it at `/status.json`.

The page itself holds nothing secret and is open; its figures need the API key when there is one. A program that asks
for `/` without wanting HTML gets the small JSON that it always got.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from embedserve import __version__
from embedserve import observability as obs
from embedserve.api.declare import OPEN, declare
from embedserve.api.openapi import STRING, described, object_of
from embedserve.api.responses import json_response, runtime_of
from embedserve.client_settings import client_settings
from embedserve.errors import SettingsError
from embedserve.recent import RECENT, STEP, WINDOW
from embedserve.serving.entry import ModelEntry
from embedserve.serving.runtime import Runtime
from embedserve.serving.status import health

router = APIRouter()

_ABOUT = object_of("service", "docs", "embeddings", "health", service=STRING, docs=STRING)


@router.head("/", include_in_schema=False)
@router.get(
    "/", summary="What this is, for programs; the status page, where HTML is asked for", **described(answer=_ABOUT)
)
@declare(OPEN)
async def root(request: Request) -> Response:
    """A page for people, JSON for programs."""
    if "text/html" not in request.headers.get("accept", ""):
        return json_response(
            {"service": "embedserve", "docs": "/docs", "embeddings": "/v1/embeddings", "health": "/health"}
        )
    page, policy = _page()
    headers = {
        "content-security-policy": policy,
        "cache-control": "no-cache",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
    }
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)


@router.get(
    "/status.json",
    summary="The figures of the status page: the last ten minutes",
    **described(answer={"type": "object"}),
)
async def status(request: Request) -> Response:
    """What is served and why, totals since the start, a row every two seconds, recent errors, clients, index jobs."""
    return json_response(figures(runtime_of(request)))


def figures(runtime: Runtime) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    settings = runtime.settings
    return {
        **health(runtime),
        "version": __version__,
        "now": time.time(),
        "key_needed": settings.api_key is not None,
        "qdrant_url": _qdrant_url(),
        "slots": settings.semaphore_value,
        "queue_size": settings.queue_size,
        "longest_wait": runtime.admission.longest,
        "served": [_model(entry) for entry in runtime.entries],
        "chosen": {"model": settings.model, "backend": settings.backend, "precision": settings.precision},
        "totals": obs.totals(),
        "step": STEP,
        "window": WINDOW,
        "rows": [asdict(row) for row in RECENT.rows],
        "errors": RECENT.refusals(),
        "clients": RECENT.clients(),
        "jobs": RECENT.jobs(),
    }


@cache
def _qdrant_url() -> str:
    """Where QDRANT_URL or QDRANT_PORT put Qdrant, for the page's settings for clients; "" where that is no address."""
    try:
        return client_settings().qdrant_url.value or ""
    except SettingsError:
        return ""


def _model(entry: ModelEntry) -> dict[str, Any]:
    info, spec = entry.info, entry.model
    return {
        "id": spec.id,
        "dimension": entry.dimension,
        "max_tokens": spec.max_tokens,
        "state": entry.state,
        "problem": entry.failure,
        "backend": info.name if info else None,
        "precision": info.precision if info else None,
        "device": info.device if info else None,
        "threads": info.threads if info else None,
        "why": info.why if info else "",
        "origin": entry.origin,
        "notice": entry.notice,
        "texts_waiting": len(entry.served.engine.backlog) if entry.served else 0,
    }


@cache
def _page() -> tuple[bytes, str]:
    """The file, and a policy that lets nothing run but its own script and asks nobody but this server."""
    page = files("embedserve.api.status_page").joinpath("page.html").read_bytes()

    def digest(tag: bytes) -> str:
        inline = re.search(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        assert inline is not None
        return "'sha256-" + base64.b64encode(hashlib.sha256(inline[1]).digest()).decode() + "'"

    policy = (
        f"default-src 'none'; script-src {digest(b'script')}; style-src {digest(b'style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy
