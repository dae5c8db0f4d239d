"""OpenTelemetry traces: a real server, a real exporter, a collector that decodes what it is sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from embedserve.tracing import asked_for
from support.processes import Process

PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector:
    """Takes OTLP over HTTP; `spans` are (name, trace id, attributes)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, dict[str, Any]]] = []
        self.services: set[str] = set()
        handler = type("Handler", (_Handler,), {"collector": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    collector: Collector

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            named = {a.key: a.value.string_value for a in resource.resource.attributes}
            self.collector.services.add(named["service.name"])
            for span in (span for scope in resource.scope_spans for span in scope.spans):
                attributes = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
                self.collector.spans.append((span.name, span.trace_id.hex(), attributes))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def test_a_request_is_a_span_of_its_clients_trace_without_a_word_of_its_text(collector: Collector) -> None:
    pytest.importorskip("opentelemetry.instrumentation.asgi")
    with Process(
        ["serve"],
        "/ready",
        EMBEDDING_BACKEND="fake",
        EMBEDDING_CACHE="memory",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
    ) as running:
        headers = {"traceparent": f"00-{PARENT}-00f067aa0ba902b7-01"}
        answer = httpx.post(running.url + "/v1/embeddings", json={"input": ["secret words"]}, headers=headers)
        assert answer.status_code == 200
        httpx.get(running.url + "/health")
    # the server is down: what was left was sent at its end
    assert collector.services == {"embedserve"}
    [(name, trace, attributes)] = collector.spans
    assert (name, trace) == ("POST /v1/embeddings", PARENT)
    assert 200 in attributes.values()
    assert "secret" not in str(collector.spans)


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
    ],
)
def test_only_the_standard_variables_switch_traces_on(environment: dict[str, str], asked: bool) -> None:
    assert asked_for(environment) is asked
