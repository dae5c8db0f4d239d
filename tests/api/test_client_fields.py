"""What clients of other vendors send to /v1/embeddings, and what the answer tells beside the vectors."""

import base64
import json
import logging

import httpx
import numpy as np
import pytest

from embedserve.observability import set_up_logging
from support.live import fake_server


def rows(response):
    assert response.status_code == 200, response.text
    return np.array([d["embedding"] for d in response.json()["data"]])


@pytest.mark.parametrize(
    "fields",
    [
        {"truncation": True, "output_dtype": None, "output_dimension": None},  # voyageai
        {"task": None, "late_chunking": False, "normalized": True, "embedding_type": "float"},  # Jina
        {"truncate": "END", "modality": "text", "embedding_types": ["float"]},  # NIM
        {"metadata": {"a": "b"}, "safety_identifier": "x", "user": "y", "priority": 3, "anything": None},
        {"add_special_tokens": True, "normalize": True, "output_dtype": "float", "output_dimension": 8},  # vLLM
    ],
)
def test_fields_that_say_what_is_true_anyway_change_nothing(server, fields):
    plain = rows(server.post({"input": ["hello"]}))
    np.testing.assert_array_equal(rows(server.post({"input": ["hello"], **fields})), plain)


@pytest.mark.parametrize("word", ["query", "search_query", "retrieval.query", "SEARCH_QUERY"])
def test_every_vendors_word_for_a_query_is_the_models_query_side(server, word):
    expected = rows(server.post({"input": ["x"], "prompt_name": "query"}))
    for field in ("input_type", "task"):
        np.testing.assert_array_equal(rows(server.post({"input": ["x"], field: word})), expected)


@pytest.mark.parametrize("name", ["", "FAKE", "openai/fake", "fake:latest", "openai/Fake-Alias:LATEST", None])
def test_a_models_name_is_matched_as_clients_write_it(server, name):
    assert server.post({"input": "a", "model": name}).json()["model"] == "fake"


def test_a_name_with_a_side_puts_that_sides_prompt_unless_the_request_says_another(server):
    plain = rows(server.post({"input": ["x"]}))
    query = rows(server.post({"input": ["x"], "input_type": "query"}))
    np.testing.assert_array_equal(rows(server.post({"input": ["x"], "model": "fake-query"})), query)
    np.testing.assert_array_equal(rows(server.post({"input": ["x"], "model": "openai/fake-passage"})), plain)
    contrary = server.post({"input": ["x"], "model": "fake-query", "input_type": "document"})
    np.testing.assert_array_equal(rows(contrary), plain)
    listed = {m["id"] for m in httpx.get(server.url + "/v1/models").json()["data"]}
    assert listed == {"fake", "fake-query", "fake-document"}


def test_the_number_of_cut_texts_is_in_a_header_in_usage_and_in_the_log(server, caplog):
    with caplog.at_level("INFO"):
        answer = server.post({"input": ["x" * 2000, "ok", "y" * 600]})
    assert answer.headers["x-embedserve-truncated"] == "2"
    assert answer.json()["usage"]["truncated"] == 2
    (line,) = [r for r in caplog.records if getattr(r, "event", "") == "embedded"]
    told = {"path": "/v1/embeddings", "model": "fake", "texts": 3, "tokens": 512 + 4 + 512, "cached": 0, "truncated": 2}
    assert told.items() <= line.fields.items()
    assert {"wait_seconds", "compute_seconds"} < set(line.fields)
    assert "texts=3 tokens=1028" in line.getMessage()


def test_equal_texts_of_a_request_count_as_cached(server, caplog):
    with caplog.at_level("INFO"):
        server.post({"input": ["a", "a", "b"]})
    assert [r.fields["cached"] for r in caplog.records if getattr(r, "event", "") == "embedded"] == [1]


def test_cut_token_ids_keep_the_closing_special_token(server):
    """Seen: ids over the limit lost it, and so were another text than the same text cut."""
    ids = [0, *[50] * 600, 1]
    cut = rows(server.post({"input": ids}))
    np.testing.assert_array_equal(cut, rows(server.post({"input": [0, *[50] * 510, 1]})))
    assert server.post({"input": ids}).json()["usage"]["truncated"] == 1


def test_an_empty_text_is_embedded_where_the_operator_says_so():
    with fake_server(empty="embed") as server:
        got = rows(server.post({"input": ["", "a"]}))
        np.testing.assert_array_equal(got[:1], rows(server.post({"input": [[0, 1]]})))


def test_a_byte_order_mark_before_the_body_is_skipped(server):
    body = b'\xef\xbb\xbf{"input": "a"}'
    headers = {"content-type": "application/json"}
    assert httpx.post(server.url + "/v1/embeddings", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1//embeddings",
        "//v1/embeddings/",
        "/embeddings",
        "/openai/v1/embeddings",
        "/v1/v1/embeddings",
        "/openai/deployments/fake/embeddings?api-version=2024-10-21",
    ],
)
def test_other_spellings_of_the_path_are_the_same_route(server, path):
    """Also for admission: a path that only the router knew would have no limits."""
    before = admitted(server)
    answer = httpx.post(server.url + path, json={"input": ["hello"]})
    np.testing.assert_array_equal(rows(answer), rows(server.post({"input": ["hello"]})))
    assert admitted(server) == before + 2


def admitted(server):
    lines = httpx.get(server.url + "/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("embedserve_queue_seconds_count ")))


def test_azures_deployment_is_the_model_whatever_the_body_says(server):
    path = server.url + "/openai/deployments/{}/embeddings?api-version=2024-10-21"
    assert httpx.post(path.format("fake-query"), json={"input": "a", "model": "gpt"}).json()["model"] == "fake"
    assert httpx.post(path.format("gpt"), json={"input": "a", "model": "fake"}).status_code == 404


MODELS = ["/models", "/openai/v1/models", "/v1/models/", "/v1/v1/models", "/openai/models?api-version=2024-10-21"]


@pytest.mark.parametrize("path", MODELS)
def test_models_are_listed_under_every_base_url(server, path):
    assert httpx.get(server.url + path).json()["data"][0]["id"] == "fake"


@pytest.mark.parametrize("path", ["/models/fake", "/v1/models/openai/FAKE:latest", "/openai/v1/models/fake"])
def test_one_model_is_found_under_every_base_url(server, path):
    assert httpx.get(server.url + path).json()["id"] == "fake"


def test_ollamas_calls_are_found_under_a_base_url_with_v1(server):
    assert httpx.post(server.url + "/v1/api/embed", json={"input": "a", "model": "fake"}).json()["embeddings"]
    assert httpx.get(server.url + "/v1/api/tags").status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/ready"])
def test_head_is_get_without_its_body(server, path):
    head, get = httpx.head(server.url + path), httpx.get(server.url + path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert httpx.head(server.url + "/v1/embeddings").status_code == 405


def test_json_log_lines_are_one_object_each_whatever_a_message_holds(capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        set_up_logging("info", "json")
        logging.getLogger("a").warning('two\nlines "and" quotes')
        (line,) = capsys.readouterr().err.splitlines()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    told = json.loads(line)
    assert told["message"] == 'two\nlines "and" quotes'
    assert told["level"] == "warning"
    assert {"time", "request_id", "logger"} < set(told)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("int8", "<i1"), ("uint8", "<u1"), ("binary", "<i1"), ("ubinary", "<u1"), ("float", "<f4")]
)
def test_other_number_types_are_the_same_as_numbers_and_as_base64(server, kind, dtype):
    numbers = rows(server.post({"input": ["hello", "x"], "output_dtype": kind}))
    assert numbers.shape == (2, 1 if "binary" in kind else 8)
    packed = rows(server.post({"input": ["hello", "x"], "output_dtype": kind, "encoding_format": "base64"}))
    decoded = [np.frombuffer(base64.b64decode(text), dtype) for text in packed]
    np.testing.assert_allclose(decoded, numbers, rtol=1e-6)
