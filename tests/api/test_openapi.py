"""The published document is true: schemathesis draws requests from it, right and wrong ones, and judges the answers.

Its phase of systematic cases (each field missing, null, of another type, at its bounds) is there too.
"""

import httpx
import pytest

from embedserve.api.declare import traits_of
from embedserve.api.error_shapes import SCHEMAS
from embedserve.api.routes import routers
from support.live import fake_server
from support.schemas import conforms

# What a schema cannot say is refused too: an unknown model, an empty text, a dimension that the model has not.
NOT_JUDGED = "positive_data_acceptance"


@pytest.fixture(scope="module")
def server():
    with fake_server(rerank_model="fake-reranker") as live:
        yield live


@pytest.mark.slow
def test_every_answer_conforms_to_the_document_whatever_is_sent(server, tmp_path):
    options = ("--phases", "examples,coverage,fuzzing", "--max-examples", "10")
    conforms(f"{server.url}/openapi.json", *options, folder=tmp_path, unjudged=NOT_JUDGED)
    assert server.post({"input": "x"}).status_code == 200


def test_every_route_describes_its_body_its_answer_and_its_errors(server):
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    routes = [r for router in routers() for r in router.routes if r.include_in_schema]
    assert len(routes) > 20
    for route in routes:
        said = paths[route.path.replace(":path}", "}")]
        for method in route.methods - {"HEAD"}:
            operation = said[method.lower()]
            where = f"{method} {route.path}"
            assert ("requestBody" in operation) == (method == "POST"), where
            assert "422" not in operation["responses"], where
            shape = SCHEMAS[traits_of(route.endpoint).errors]
            assert operation["responses"]["4XX"]["content"]["application/json"]["schema"] == shape, where
            answer = operation["responses"]["200"]["content"]
            assert "text/plain" in answer or answer["application/json"]["schema"], where


def test_a_wrong_method_is_told_every_right_one(server):
    answer = httpx.put(server.url + "/")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"
    assert "GET, HEAD, POST" in answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1" * 30, "-" + "9" * 40, "1" * 5000, "1e999"])
def test_a_lone_surrogate_beside_it_lets_no_odd_number_through(server, number):
    """Regression: such a body was read by a second parser that took them, and the answer could not be written: 500."""
    body = '{"query": "a\\ud800", "documents": [{"text": "b", "n": NUMBER}], "return_documents": true}'
    body = body.replace("NUMBER", number)
    headers = {"content-type": "application/json"}
    there = httpx.post(server.url + "/v1/rerank", content=body, headers=headers)
    plain = httpx.post(server.url + "/v1/rerank", content=body.replace("\\ud800", ""), headers=headers)
    assert there.status_code in (200, 400)
    assert there.status_code == plain.status_code
