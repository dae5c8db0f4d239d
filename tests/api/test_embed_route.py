"""POST /embed over real HTTP: Doctown's worker and TEI, told apart by their fields, behind the same admission."""

import logging

import httpx
import numpy as np
import pytest

from support.live import fake_server


def embed(server, body):
    return httpx.post(server.url + "/embed", json=body, timeout=60)


def batch(*contents):
    return {"batch_id": "b-1", "chunks": [{"chunk_id": f"c{i}", "content": text} for i, text in enumerate(contents)]}


def plain(server, texts):
    return np.array([one["embedding"] for one in server.post({"input": texts}).json()["data"]])


def refused(answer, *words):
    assert answer.status_code == 400, answer.text
    message = answer.json()["error"]["message"]
    assert all(word in message for word in words), message


def test_a_batch_keeps_its_id_the_chunks_ids_and_their_order(server):
    texts = ["a longer text of many words", "b", "a longer text of many words", "é\n"]
    answer = embed(server, batch(*texts))
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["batch_id", "vectors"]
    assert body["batch_id"] == "b-1"
    assert [one["chunk_id"] for one in body["vectors"]] == ["c0", "c1", "c2", "c3"]
    np.testing.assert_array_equal([one["vector"] for one in body["vectors"]], plain(server, texts))


def test_an_empty_batch_is_an_empty_list(server):
    answer = embed(server, batch())
    assert (answer.status_code, answer.json()) == (200, {"batch_id": "b-1", "vectors": []})


def test_an_empty_content_is_embedded_as_the_models_empty_text(server):
    assert server.post({"input": ["a", ""]}).status_code == 400  # the strict default elsewhere
    vectors = embed(server, batch("a", "")).json()["vectors"]
    assert np.linalg.norm(vectors[1]["vector"]) == pytest.approx(1, abs=1e-5)


def test_a_duplicate_chunk_id_is_refused_by_place(server):
    body = batch("a", "b", "c")
    body["chunks"][2]["chunk_id"] = "c0"
    refused(embed(server, body), "elements 0 and 2", "chunk_id")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"chunks": []}, ["'batch_id' is missing"]),
        ({"batch_id": "b"}, ["'chunks' must be a list"]),
        ({"batch_id": 3, "chunks": []}, ["'batch_id' must be a string"]),
        ({"batch_id": "b", "chunks": ["a"]}, ["element 0 is not an object"]),
        ({"batch_id": "b", "chunks": [{"chunk_id": "c"}]}, ["element 0", "'content'"]),
        ({"batch_id": "b", "chunks": [{"chunk_id": 7, "content": ""}]}, ["element 0", "'chunk_id'"]),
        ({"batch_id": "b", "chunks": [], "inputs": []}, ["not both"]),
        ({"batch_id": "b", "chunk": []}, ["unknown field 'chunk'", "chunks"]),
        ({}, ["'inputs' is missing", "chunks"]),
        ({"inputs": "a", "normalize": False}, ["'normalize' can only be true"]),
        ({"inputs": []}, ["'inputs' is an empty list"]),
        ({"inputs": ["a", 3]}, ["'inputs' element 1"]),
        ({"inputs": "a", "dimensions": 5}, ["5 dimensions", "8, 4"]),
    ],
)
def test_a_mistake_is_named(server, body, words):
    refused(embed(server, body), *words)


def test_teis_answer_is_a_bare_list_of_lists(server):
    answer = embed(server, {"inputs": ["one", "two"], "normalize": True, "truncate": True})
    assert answer.status_code == 200
    np.testing.assert_array_equal(answer.json(), plain(server, ["one", "two"]))
    np.testing.assert_array_equal(embed(server, {"inputs": "one"}).json(), plain(server, ["one"]))


def test_teis_prompt_and_dimensions_are_those_of_the_core(server):
    got = embed(server, {"inputs": ["x"], "prompt_name": "query", "dimensions": 4}).json()
    want = server.post({"input": ["x"], "prompt_name": "query", "dimensions": 4}).json()
    assert got == [want["data"][0]["embedding"]]


def test_an_overlong_text_is_refused_when_truncate_is_false(server):
    assert embed(server, {"inputs": "x " * 2000}).headers["X-Embedserve-Truncated"] == "1"
    refused(embed(server, {"inputs": "x " * 2000, "truncate": False}), "tokens")


def test_limits_are_those_of_every_embedding_route():
    with fake_server(max_inputs=2, max_body_bytes=2000) as small:
        refused(embed(small, batch("a", "b", "c")), "EMBEDDING_MAX_INPUTS")
        assert embed(small, batch("x" * 3000)).status_code == 413
        before = small.runtime.admission.stats.admitted
        assert embed(small, batch("a")).status_code == 200
        assert small.runtime.admission.stats.admitted == before + 1


def test_8192_chunks_in_one_request_lose_nothing_and_keep_their_order(server):
    texts = [f"chunk {i} " + "x" * (i % 37) for i in range(8192)]
    vectors = embed(server, batch(*texts)).json()["vectors"]
    assert [one["chunk_id"] for one in vectors] == [f"c{i}" for i in range(8192)]
    np.testing.assert_array_equal([one["vector"] for one in vectors], plain(server, texts))


def test_a_batch_logs_its_start_and_end_with_counts_and_duration(server, caplog):
    caplog.set_level(logging.INFO, "embedserve.api")
    embed(server, {**batch("a", "b"), "batch_id": "b 1\nfake line"})
    events = {r.event: r.fields for r in caplog.records if getattr(r, "event", "").startswith("batch_")}
    assert events["batch_started"] == {"batch": "b?1?fake?line", "chunks": 2}
    assert set(events["batch_completed"]) == {"batch", "chunks", "seconds"}


def test_a_failed_batch_logs_its_end_too(caplog):
    caplog.set_level(logging.INFO, "embedserve.api")
    with fake_server(overlong="error") as strict:
        assert embed(strict, batch("x " * 2000)).status_code == 400
    assert "batch_failed" in {getattr(r, "event", "") for r in caplog.records}


def test_health_says_the_word_that_doctowns_callers_test(server):
    health = httpx.get(server.url + "/health").json()
    assert (health["status"], health["model_loaded"], health["embedding_dim"]) == ("healthy", True, 8)
