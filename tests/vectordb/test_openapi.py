"""No request that Qdrant's document allows or forbids gets an answer that the document does not know.

schemathesis draws the requests; the document is that of the real server's REST layer in qdrant-client.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from embedserve.vectordb.routes import ROUTES
from support.qdrant_document import document
from support.schemas import conforms

from .conftest import Embedded, embedded_only

THERE = "there"
# Made, emptied and deleted at random; what the others work on stays.
DRAWN = {(method, "/collections/{collection_name}"): ["drawn", "other"] for method in ("PUT", "PATCH", "DELETE")}
# Drawn at random they took 2 GB of disk.
SPACE = {("POST", "/collections/{name}/snapshots")}
# A document cannot say that a vector has the collection's size, or that unknown fields are let through, as Rust does.
NOT_JUDGED = "positive_data_acceptance,negative_data_rejection,unsupported_method,missing_required_header"
# 501 names what the embedded server leaves out.
CONFIGURED = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "4xx", 501]
"""


@pytest.mark.slow
@embedded_only
def test_every_answer_conforms_to_the_document_of_the_real_server(tmp_path: Path) -> None:
    with Embedded(tmp_path / "storage") as server:
        _draw(server, tmp_path)
    assert "Traceback" not in server.log.read_text()


def _draw(server: Embedded, folder: Path) -> None:
    made = httpx.put(f"{server.url}/collections/{THERE}", json={"vectors": {"size": 2, "distance": "Dot"}})
    assert made.status_code == 200
    points = [{"id": i, "vector": [i, 1], "payload": {"a": i}} for i in range(20)]
    assert httpx.put(f"{server.url}/collections/{THERE}/points?wait=true", json={"points": points}).status_code == 200
    served = {(method, path) for method, path, _ in ROUTES} - SPACE
    described = document(served, {("", ""): [THERE], **DRAWN})
    assert len(described["paths"]) > 25
    (folder / "qdrant.json").write_text(json.dumps(described))
    (folder / "schemathesis.toml").write_text(CONFIGURED)
    options = ("--url", server.url, "--phases", "fuzzing", "--max-examples", "30")
    conforms("qdrant.json", *options, folder=folder, unjudged=NOT_JUDGED)
    kept = httpx.post(f"{server.url}/collections/{THERE}/points/count", json={})
    assert kept.status_code == 200
