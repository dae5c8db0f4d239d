"""Ollama's calls: the vectors of /v1/embeddings in Ollama's shapes, and its error shape."""

import httpx
import numpy as np
import pytest

from support.live import fake_server


def post(server, path, **body):
    return httpx.post(server.url + path, json=body)


def test_both_calls_give_the_vectors_of_v1_embeddings(server):
    expected = [d["embedding"] for d in server.post({"input": ["a", "bc"]}).json()["data"]]
    answer = post(server, "/api/embed", model="fake:latest", input=["a", "bc"], keep_alive="5m").json()
    np.testing.assert_allclose(answer["embeddings"], expected, atol=1e-7)
    assert answer["model"] == "fake"
    assert answer["prompt_eval_count"] == server.post({"input": ["a", "bc"]}).json()["usage"]["prompt_tokens"]
    assert answer["total_duration"] > 0
    single = post(server, "/api/embeddings", model="fake", prompt="a").json()
    np.testing.assert_allclose(single["embedding"], expected[0], atol=1e-7)


def test_dimensions_and_truncate_mean_what_they_mean_elsewhere(server):
    assert np.shape(post(server, "/api/embed", input="a", dimensions=4).json()["embeddings"]) == (1, 4)
    assert post(server, "/api/embed", input="x" * 2000, truncate=True).headers["x-embedserve-truncated"] == "1"
    assert post(server, "/api/embed", input="x" * 2000, truncate=False).status_code == 400


@pytest.mark.parametrize("options", [{}, {"num_thread": 4, "temperature": 0.8, "stop": None}, {"num_ctx": 512}, None])
def test_options_that_cannot_change_a_vector_are_accepted(server, options):
    assert post(server, "/api/embed", input="a", options=options).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/api/embed", {"input": "a", "options": {"num_ctx": 128}}, "num_ctx"),
        ("/api/embed", {"input": "a", "options": {"rope_frequency_base": 1.0}}, "rope_frequency_base"),
        ("/api/embed", {"input": "a", "options": []}, "options"),
        ("/api/embed", {"input": [""]}, "input"),
        ("/api/embed", {"model": "fake"}, "input"),
        ("/api/embeddings", {"prompt": ["a"]}, "prompt"),
        ("/api/embeddings", {"prompt": ""}, "prompt"),
        ("/api/show", {}, "model"),
    ],
)
def test_what_is_refused_is_named_in_ollamas_shape(server, path, body, named):
    answer = post(server, path, **body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert f"'{named}'" in answer.json()["error"]


def test_an_unknown_model_is_404_in_ollamas_shape_and_the_log_has_the_reason(server, caplog):
    answer = post(server, "/api/embed", model="nomic", input="a")
    assert answer.status_code == 404
    assert "'nomic' is not served here" in answer.json()["error"]
    server.wait_for(lambda: "POST /api/embed -> 404: model 'nomic'" in caplog.text)  # logged after the answer went out


def test_models_are_listed_and_shown(server):
    (listed,) = httpx.get(server.url + "/api/tags").json()["models"]
    assert listed["name"] == listed["model"] == "fake:latest"
    (loaded,) = httpx.get(server.url + "/api/ps").json()["models"]
    assert loaded["digest"] == listed["digest"]
    shown = post(server, "/api/show", model=listed["name"]).json()
    assert shown["capabilities"] == ["embedding"]
    assert shown["model_info"]["bert.embedding_length"] == 8
    assert shown["model_info"]["bert.context_length"] == 512
    assert httpx.get(server.url + "/api/version").json()["version"]


def test_the_key_is_asked_for_in_ollamas_shape():
    with fake_server(api_key="k") as server:
        answer = httpx.get(server.url + "/api/tags")
        assert answer.status_code == 401
        assert isinstance(answer.json()["error"], str)
