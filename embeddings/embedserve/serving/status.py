"""What the server says of itself: the body of GET /health. Reads numbers, waits for nothing, takes no lock."""

from __future__ import annotations

from typing import Any

from embedserve.serving.runtime import Runtime


def health(runtime: Runtime) -> dict[str, Any]:
    """Always to be had, whatever the load; `problem` is why /ready is red."""
    entries = runtime.entries
    first = entries[0] if entries else None
    info = first.info if first else None
    problem = runtime.problem
    return {
        "status": "loading" if runtime.loading else "degraded" if problem else "healthy",
        "problem": problem or None,
        "model_loaded": first is not None and first.served is not None,
        "model": first.id if first else None,
        "embedding_dim": first.dimension if first else None,
        "backend": info.name if info else None,
        "precision": info.precision if info else None,
        "device": info.device if info else None,
        "notice": (first.notice or None) if first else None,
        "models": [entry.id for entry in entries],
        "models_loaded": [model.spec.id for model in runtime.models],
        "pid": runtime.pid,
        "uptime_seconds": round(runtime.uptime, 1),
        "rss_bytes": runtime.rss,
        "memory_limit_bytes": runtime.governor.limit,
        "batch_cap": runtime.governor.cap,
        "requests_active": runtime.admission.active,
        "requests_waiting": runtime.admission.waiting,
        "texts_waiting": sum(len(m.engine.backlog) for m in runtime.models),
    }
