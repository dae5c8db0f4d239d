"""OpenTelemetry traces of requests: only where the standard variables ask for them (the extra `otel`).

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `..._TRACES_ENDPOINT`), or `OTEL_TRACES_EXPORTER=otlp`, switches them on; the other
variables of the standard (service name, sampler, headers) are read by the SDK itself. Nothing is sent without them.
No text of a user's is part of a trace: a span has the route, the status and the times.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from starlette.types import ASGIApp

from embedserve import __version__

log = logging.getLogger(__name__)
NOT_TRACED = "/health$,/ready$,/metrics$,/status.json$"  # asked every few seconds


def asked_for(environment: Mapping[str, str]) -> bool:
    """Do the standard variables ask for traces?"""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if exporter:
        return exporter == "otlp"
    return bool(environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))


def traced(app: ASGIApp) -> ASGIApp:
    """`app`, each request a span of the trace that its `traceparent` header names; `app` itself where none is asked
    for, or where the extra is not installed (said in the log)."""
    if not asked_for(os.environ):
        return app
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("the OTEL_ variables ask for traces, but %s is not installed: the extra is `otel`", error.name)
        return app
    os.environ.setdefault("OTEL_SERVICE_NAME", "embedserve")
    provider = TracerProvider(resource=Resource.create({"service.version": __version__}))
    exporter = OTLPSpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    log.info("traces go to %s", exporter._endpoint)
    return OpenTelemetryMiddleware(  # the parts of a request (receive, send) are no spans of their own
        app, tracer_provider=provider, excluded_urls=NOT_TRACED, exclude_spans=["receive", "send"]
    )
