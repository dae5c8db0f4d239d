"""POST /v1/embeddings over real HTTP on the fake backend: inputs, formats, errors."""

import base64
import json

import httpx
import numpy as np
import pytest

from embedserve.backends.fake import FakeBackend, FakeTokenizer
from support.live import fake_server


def expected(text, dimension=8):
    ids = FakeTokenizer().encode([text], 512)[0].ids
    raw = FakeBackend().vector(ids)[:dimension]
    return raw / np.linalg.norm(raw)


def vectors(response):
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [d["index"] for d in data] == list(range(len(data)))
    return np.array([d["embedding"] for d in data], dtype=np.float32)


def error(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "detail"}
    assert body["detail"] == body["error"]["message"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]
    return body["error"]


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_a_string_is_one_input_on_both_paths(server, path):
    response = httpx.post(server.url + path, json={"input": "hello", "model": "fake"})
    np.testing.assert_allclose(vectors(response), [expected("hello")], atol=1e-6)
    assert response.json()["model"] == "fake"


def test_a_list_keeps_its_order_and_duplicates(server):
    texts = ["b", "a", "b", " ", "\n\t", "ж🙂"]
    np.testing.assert_allclose(vectors(server.post({"input": texts})), [expected(t) for t in texts], atol=1e-6)


def test_usage_counts_the_ids_the_model_saw_special_ones_included(server):
    usage = server.post({"input": ["abc", "abc", "ж"]}).json()["usage"]
    assert usage == {"prompt_tokens": 5 + 5 + 4, "total_tokens": 14, "truncated": 0}


def test_a_flat_list_of_ids_is_one_input_used_exactly_as_given(server):
    ids = [0, 3, 99, 1]
    response = server.post({"input": ids})
    raw = FakeBackend().vector(np.array(ids, dtype=np.int32))
    np.testing.assert_allclose(vectors(response), [raw / np.linalg.norm(raw)], atol=1e-6)
    assert response.json()["usage"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    ("given", "kept"), [("job-7.a_b", True), ("a b", False), ('x"} {"y', False), ("a" * 500, False), ("", False)]
)
def test_a_clients_own_request_id_comes_back_and_one_that_could_forge_a_log_line_does_not(server, given, kept):
    answer = server.post({"input": "x"}, headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert answer.headers["x-request-id"]


def test_lists_of_ids_are_several_inputs(server):
    assert vectors(server.post({"input": [[0, 7, 3, 1], [0, 1]]})).shape == (2, 8)


def test_base64_is_little_endian_float32_of_the_same_vector(server):
    floats = vectors(server.post({"input": "hello"}))[0]
    text = server.post({"input": "hello", "encoding_format": "base64"}).json()["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(text, validate=True), "<f4"), floats)


def test_dimensions_are_cut_and_normalised_again(server):
    cut = vectors(server.post({"input": ["hello"], "dimensions": 4}))
    np.testing.assert_allclose(cut, [expected("hello", 4)], atol=1e-6)


def test_a_prompt_is_put_before_the_text_and_counted(server):
    for field in ("input_type", "prompt_name"):
        answer = server.post({"input": ["x"], field: "query"})
        np.testing.assert_allclose(vectors(answer), [expected("query: x")], atol=1e-6)
        assert answer.json()["usage"]["prompt_tokens"] == len("query: x") + 2


def test_a_configured_prompt_is_put_before_what_asks_for_none_and_said():
    with fake_server(default_prompt="query") as server:
        np.testing.assert_allclose(vectors(server.post({"input": ["x"]})), [expected("query: x")], atol=1e-6)
        plain = server.post({"input": ["x"], "input_type": "document"})
        np.testing.assert_allclose(vectors(plain), [expected("x")], atol=1e-6)
        said = httpx.get(server.url + "/v1/models/fake").json()
        assert said["default_prompt"] == "query"
        assert said["prompts"] == {"query": "query: ", "document": ""}


def test_the_openai_sdk_works_in_both_formats(server):
    import openai  # a second

    client = openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0)
    for encoding in (openai.omit, "float", "base64"):
        answer = client.embeddings.create(model="fake", input=["hello", "x"], encoding_format=encoding)
        got = answer.data[0].embedding
        if isinstance(got, str):
            got = np.frombuffer(base64.b64decode(got), "<f4")
        np.testing.assert_allclose(got, expected("hello"), atol=1e-6)
        assert answer.usage.prompt_tokens == 7 + 3
    assert [m.id for m in client.models.list()] == ["fake", "fake-query", "fake-document"]
    with pytest.raises(openai.NotFoundError, match="not served"):
        client.embeddings.create(model="nope", input="x")


def test_a_lone_surrogate_is_embedded_as_the_replacement_character(server):
    """JavaScript clients cut texts inside emoji; JSON then holds half of one."""
    body = b'{"input": ["a \\ud83d"]}'
    response = httpx.post(server.url + "/v1/embeddings", content=body, headers={"content-type": "application/json"})
    np.testing.assert_allclose(vectors(response), [expected("a \ufffd")], atol=1e-6)


def test_an_overlong_text_is_cut_and_its_usage_is_the_limit(server):
    response = server.post({"input": ["x" * 2000]})
    assert vectors(response).shape == (1, 8)
    assert response.json()["usage"]["prompt_tokens"] == 512


def test_an_overlong_text_is_refused_when_asked(server):
    got = error(server.post({"input": ["ok", "x" * 2000], "truncate": False}), 400)
    assert got["code"] == "context_length_exceeded"
    assert "512" in got["message"]
    assert "2002" in got["message"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": ""}, "empty string"),
        ({"input": []}, "empty list"),
        ({"input": ["a", ""]}, "element 1"),
        ({"input": [[]]}, "element 0"),
        ({"input": ["a", 1]}, "element 1"),
        ({"input": [1, "a"]}, "token ids"),
        ({"input": [1, True]}, "token ids"),
        ({"input": [1.5]}, "element 0"),
        ({"input": None}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({}, "'input' is missing"),
        ([], "JSON object"),
        ({"input": [-1]}, "vocabulary"),
        ({"input": [258]}, "0 to 257"),
        ({"input": [2**40]}, "too large"),
        ({"input": "a", "dimensions": 3}, "allowed: 8, 4"),
        ({"input": "a", "dimensions": "4"}, "integer"),
        ({"input": "a", "dimensions": True}, "integer"),
        ({"input": "a", "dimensions": 0}, "at least 1"),
        ({"input": "a", "encoding_format": "int8"}, "float"),
        ({"input": "a", "model": 3}, "string"),
        ({"input": "a", "truncate": "no"}, "true or false"),
        ({"input": "a", "dimension": 4}, "did you mean 'dimensions'"),
        ({"input": "a", "prompt_name": "passage"}, "known: query, document"),
        ({"input": [0, 1], "prompt_name": "query"}, "token ids"),
        ({"input": [7, 3, 99]}, "check_embedding_ctx_length=False"),
        ({"input": [0, 300, 1]}, "check_embedding_ctx_length=False"),
        ({"input": "a", "normalized": False}, "'normalized' can only be true"),
        ({"input": "a", "late_chunking": True}, "'late_chunking' can only be false"),
        ({"input": "a", "add_special_tokens": 1}, "add_special_tokens"),
        ({"input": "a", "output_dtype": "int4"}, "output_dtype"),
        ({"input": "a", "embedding_types": ["float", "int8"]}, "embedding_types"),
        ({"input": "a", "output_dtype": "int8", "embedding_type": "float"}, "contradict"),
        ({"input": "a", "dimensions": 4, "output_dimension": 8}, "contradict"),
        ({"input": "a", "truncate": "START"}, "a text's end is what is cut"),
        ({"input": "a", "metadata": "x"}, "metadata"),
        ({"input": "a", "input_type": "poem"}, "known for fake: query, document"),
        ({"input": ["a"] * 8193}, "8192"),
    ],
)
def test_bad_input_is_a_400_that_names_it(server, body, says):
    assert says in error(server.post(body), 400)["message"]


def test_bad_json_is_a_400_that_gives_the_place(server):
    bad = httpx.post(
        server.url + "/v1/embeddings", content=b'{"input": [', headers={"content-type": "application/json"}
    )
    assert "line 1" in error(bad, 400)["message"]


def test_the_wrong_content_type_is_415(server):
    assert error(httpx.post(server.url + "/v1/embeddings", content=b'{"input":"a"}'), 415)


def test_an_unknown_model_is_404_that_names_what_is_served(server):
    got = error(server.post({"input": "a", "model": "text-embedding-3-small"}), 404)
    assert got["code"] == "model_not_found"
    assert "served: fake" in got["message"]


def test_an_alias_is_served_under_the_models_id(server):
    assert server.post({"input": "a", "model": "fake-alias"}).json()["model"] == "fake"


def test_unknown_route_and_wrong_method_have_the_openai_shape(server):
    assert "unknown URL" in error(httpx.get(server.url + "/v2/embeddings"), 404)["message"]
    assert error(httpx.get(server.url + "/v1/embeddings"), 405)["code"] == "method_not_allowed"
    assert error(httpx.get(server.url + "/v1/models/nope"), 404)["code"] == "model_not_found"


def test_a_body_over_the_limit_is_413(server):
    with fake_server(max_body_bytes=2048) as small:
        assert error(small.post({"input": "x" * 3000}), 413)["code"] == "request_too_large"
        streamed = httpx.post(
            small.url + "/v1/embeddings", content=iter([b"x" * 1500] * 2), headers={"content-type": "application/json"}
        )
        error(streamed, 413)


def test_models_and_health_tell_what_is_served(server):
    model = httpx.get(server.url + "/v1/models/fake").json()
    assert model["dimensions"] == [8, 4]
    health = httpx.get(server.url + "/health").json()
    assert (health["status"], health["model_loaded"], health["embedding_dim"]) == ("healthy", True, 8)
    assert httpx.get(server.url + "/ready").status_code == 200
    assert "embedserve_queue_waiting" in httpx.get(server.url + "/metrics").text
    assert "/v1/embeddings" in httpx.get(server.url + "/openapi.json").json()["paths"]
    assert httpx.get(server.url + "/docs").status_code == 200


def test_while_loading_embeddings_are_503_with_retry_after(monkeypatch):
    monkeypatch.setattr("embedserve.serving.runtime.HOLD", 0.2)
    with fake_server() as live:
        live.runtime.loading = True
        entry = live.runtime.entries[0]
        spec, entry.spec = entry.spec, None
        response = live.post({"input": "a"})
        assert error(response, 503)
        assert response.headers["retry-after"] == "5"
        assert httpx.get(live.url + "/ready").status_code == 503
        assert httpx.get(live.url + "/health").json()["status"] == "loading"
        entry.spec = spec


def test_a_key_is_demanded_where_one_is_set_and_health_stays_open():
    with fake_server(api_key="s3cret") as live:
        assert error(live.post({"input": "a"}), 401)["code"] == "invalid_api_key"
        for header in ({"authorization": "Bearer s3cret"}, {"api-key": "s3cret"}):
            assert live.post({"input": "a"}, headers=header).status_code == 200
        assert live.post({"input": "a"}, headers={"api-key": "S3cret"}).status_code == 401
        assert httpx.get(live.url + "/ready").status_code == 200


def test_a_web_page_cannot_use_the_server(server):
    assert error(server.post({"input": "a"}, headers={"origin": "https://evil.example"}), 403)
    assert error(server.post({"input": "a"}, headers={"host": "evil.example"}), 403)


def test_no_text_of_the_users_is_logged_and_every_refusal_is(server, caplog):
    with caplog.at_level("DEBUG"):
        server.post({"input": ["zebra-secret", 3]})
        server.post({"input": ["zebra-secret"], "dimensions": 5})
        httpx.post(
            server.url + "/v1/embeddings",
            content=json.dumps({"input": "zebra-secret"})[:-1],
            headers={"content-type": "application/json"},
        )
    server.wait_for(lambda: caplog.text.count("-> 400") == 3)  # logged after the answer went out
    assert "zebra" not in caplog.text
    assert "not trained for 5" in caplog.text


def test_a_large_mixed_request_is_cut_into_micro_batches_and_comes_back_in_order(server):
    texts = [f"line {i} " * (i % 50 + 1) for i in range(2614)]
    got = vectors(server.post({"input": texts}))
    np.testing.assert_allclose(got, [expected(t) for t in texts], atol=1e-6)
    assert len(server.backend.batches) > 40


def test_an_error_is_where_openais_voyages_and_jinas_clients_look_for_it(server):
    body = server.post({"input": "a", "model": "no-such"}).json()
    assert body["detail"] == body["error"]["message"]
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_voyages_own_client_gets_no_error_object_on_which_some_of_its_versions_crash(server):
    headers = {"user-agent": "Voyage/v1 PythonBindings/0.3.7"}
    assert set(server.post({"input": "a", "model": "no-such"}, headers=headers).json()) == {"message", "detail"}
