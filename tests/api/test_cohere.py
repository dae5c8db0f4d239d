"""Cohere's embed calls: the vectors of /v1/embeddings in Cohere's shapes, and its error shape."""

import base64

import httpx
import numpy as np
import pytest


def post(server, path, **body):
    return httpx.post(server.url + path, json=body)


def vectors(server, **fields):
    return [d["embedding"] for d in server.post({"input": ["a", "bc"], **fields}).json()["data"]]


def test_v1_gives_a_plain_list_unless_types_are_asked_for(server):
    answer = post(server, "/v1/embed", texts=["a", "bc"], truncate="END", images=None).json()
    assert answer["response_type"] == "embeddings_floats"
    np.testing.assert_allclose(answer["embeddings"], vectors(server), atol=1e-7)
    typed = post(server, "/v1/embed", texts=["a", "bc"], embedding_types=["float"]).json()
    assert typed["response_type"] == "embeddings_by_type"
    np.testing.assert_allclose(typed["embeddings"]["float"], vectors(server), atol=1e-7)


def test_v2_gives_every_type_that_is_asked_for(server):
    kinds = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    body = {"texts": ["a", "bc"], "input_type": "search_query", "model": "fake"}
    answer = post(server, "/v2/embed", **body, embedding_types=kinds).json()
    assert set(answer["embeddings"]) == set(kinds)
    assert answer["texts"] == ["a", "bc"]
    for kind in kinds[:-1]:
        expected = vectors(server, input_type="query", output_dtype=kind)
        np.testing.assert_allclose(answer["embeddings"][kind], expected, atol=1e-7)
    rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in answer["embeddings"]["base64"]]
    np.testing.assert_allclose(rows, vectors(server, input_type="query"), atol=1e-7)
    assert set(post(server, "/v2/embed", **body).json()["embeddings"]) == {"float"}


def test_usage_and_dimension(server):
    answer = post(server, "/v2/embed", texts=["a", "bc"], output_dimension=4).json()
    assert np.shape(answer["embeddings"]["float"]) == (2, 4)
    tokens = server.post({"input": ["a", "bc"]}).json()["usage"]["prompt_tokens"]
    assert answer["meta"]["billed_units"]["input_tokens"] == tokens


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"images": ["data:"]}, "images"),
        ({"inputs": [{"content": []}]}, "inputs"),
        ({}, "texts"),
        ({"texts": ["a"], "embedding_types": ["int4"]}, "embedding_types"),
        ({"texts": ["a"], "embedding_types": [[]]}, "embedding_types"),
        ({"texts": ["a"], "truncate": "START"}, "truncate"),
        ({"texts": ["a"], "max_tokens": 5}, "max_tokens"),
    ],
)
def test_what_is_refused_is_named_in_coheres_shape(server, path, body, named):
    answer = post(server, path, **body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"message"}
    assert f"'{named}'" in answer.json()["message"]
