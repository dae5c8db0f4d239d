"""Rerank: each vendor's body gets its own shape, the best first; what is wrong is named in the caller's error shape."""

import httpx
import numpy as np
import pytest

from support.live import FAKE_RERANKER, fake_server

DOCUMENTS = ["def add(a, b): return a + b", "a cat", "import os", "x = 1"]


@pytest.fixture(scope="module")
def server():
    with fake_server(rerank_model="reranker") as live:
        yield live


@pytest.fixture(scope="module")
def without():
    with fake_server() as live:
        yield live


def post(server, path, **body):
    return httpx.post(server.url + path, json=body, timeout=30)


def ranked(server, documents=DOCUMENTS, **fields):
    answer = post(server, "/v1/rerank", query="q", documents=documents, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_best_comes_first_and_every_document_is_there(server):
    results = ranked(server)["results"]
    scores = [row["relevance_score"] for row in results]
    assert scores == sorted(scores, reverse=True)
    assert sorted(row["index"] for row in results) == [0, 1, 2, 3]


def test_every_shape_has_the_same_scores(server):
    cohere = ranked(server)["results"]
    expected = [(row["index"], row["relevance_score"]) for row in cohere]
    two = post(server, "/v2/rerank", query="q", documents=DOCUMENTS, model="FAKE-reranker").json()
    assert two["results"] == cohere
    assert two["meta"]["api_version"] == {"version": "2"}
    voyage = ranked(server, top_k=None, truncation=True)
    assert [(row["index"], row["relevance_score"]) for row in voyage["data"]] == expected
    assert voyage["usage"]["total_tokens"] == two["usage"]["total_tokens"] > 0
    tei = post(server, "/rerank", query="q", texts=DOCUMENTS, raw_scores=False, truncate=True).json()
    assert [(row["index"], row["score"]) for row in tei] == expected
    assert post(server, "/rerank", query="q", documents=DOCUMENTS).json()["results"] == cohere


def test_only_so_many_as_are_wanted_and_their_texts_only_when_wanted(server):
    everything = ranked(server)["results"]
    assert ranked(server, top_n=2)["results"] == everything[:2]
    assert ranked(server, top_n=99)["results"] == everything
    assert ranked(server, top_k=1)["data"][0]["index"] == everything[0]["index"]
    best = everything[0]["index"]
    assert ranked(server, return_documents=True)["results"][0]["document"] == {"text": DOCUMENTS[best]}
    assert ranked(server, return_documents=True, top_k=1)["data"][0]["document"] == DOCUMENTS[best]
    tei = post(server, "/rerank", query="q", texts=DOCUMENTS, return_text=True).json()
    assert tei[0]["text"] == DOCUMENTS[best]


def test_documents_may_be_objects_with_a_text(server):
    objects = [{"text": text, "id": str(i)} for i, text in enumerate(DOCUMENTS)]
    answer = ranked(server, objects, return_documents=True, rank_fields=["text"])["results"]
    plain = ranked(server)["results"]
    assert [row["relevance_score"] for row in answer] == [row["relevance_score"] for row in plain]
    assert answer[0]["document"] == objects[answer[0]["index"]]


def test_equal_documents_have_equal_scores_in_their_order(server):
    results = ranked(server, ["same", "other", "same"])["results"]
    places = [row["index"] for row in results]
    assert places.index(0) + 1 == places.index(2)


def test_cut_pairs_are_counted_and_can_be_refused(server):
    long = "word " * 500
    answer = post(server, "/v1/rerank", query="q", documents=[long, "a"])
    assert answer.headers["X-Embedserve-Truncated"] == "1"
    assert answer.json()["usage"]["truncated"] == 1
    refused = post(server, "/v1/rerank", query="q", documents=[long, "a"], truncation=False)
    assert refused.status_code == 400
    assert "at most 512" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank", "/v1//rerank/"])
@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"documents": ["a"]}, "query"),
        ({"query": "", "documents": ["a"]}, "query"),
        ({"query": "q"}, "documents"),
        ({"query": "q", "documents": []}, "documents"),
        ({"query": "q", "documents": "a"}, "documents"),
        ({"query": "q", "documents": [{"title": "a"}]}, "documents"),
        ({"query": "q", "documents": ["a", ""]}, "documents"),
        ({"query": "q", "texts": ["a", 1]}, "texts"),
        ({"query": "q", "texts": ["a"], "raw_scores": True}, "raw_scores"),
        ({"query": "q", "documents": ["a"], "top_n": 0}, "top_n"),
        ({"query": "q", "documents": ["a"], "top_n": 1, "top_k": 2}, "top_n"),
        ({"query": "q", "documents": ["a"], "rank_fields": ["title"]}, "rank_fields"),
        ({"query": "q", "documents": ["a"], "max_tokens_per_doc": 100}, "max_tokens_per_doc"),
        ({"query": "q", "documents": ["a"], "topn": 1}, "topn"),
        ({"query": "q", "documents": ["a"] * 9000}, "documents"),
    ],
)
def test_what_is_refused_is_named(server, path, body, named):
    answer = httpx.post(server.url + path, json=body, timeout=30)
    assert answer.status_code == 400
    said = answer.json()
    assert f"'{named}'" in (said.get("message") or said.get("error"))
    shape = {"/rerank": {"error", "error_type"}, "/v2/rerank": {"message"}}
    assert set(said) == shape.get(path, {"message", "detail"})


def test_a_model_of_embeddings_does_not_rerank_and_a_reranker_does_not_embed(server):
    answer = post(server, "/v2/rerank", query="q", documents=["a"], model="fake")
    assert answer.status_code == 400
    assert "does not score" in answer.json()["message"]
    answer = server.post({"input": "a", "model": "fake-reranker"})
    assert answer.status_code == 400
    assert "cross-encoder" in answer.json()["error"]["message"]
    assert post(server, "/v2/rerank", query="q", documents=["a"], model="rerank-v3.5").status_code == 404


@pytest.mark.parametrize("model", [None, "", "fake", "rerank-v3.5"])
def test_without_a_reranker_the_answer_says_how_to_load_one(without, model):
    answer = post(without, "/v2/rerank", query="q", documents=["a"], model=model)
    assert answer.status_code == 404
    assert "EMBEDDING_RERANK_MODEL" in answer.json()["message"]


def test_the_reranker_is_listed_and_stays_out_of_the_way_of_embeddings(server):
    models = httpx.get(server.url + "/v1/models").json()["data"]
    (listed,) = [model for model in models if model["task"] == "rerank"]
    assert listed["id"] == FAKE_RERANKER.id
    assert listed["default"]
    assert listed["dimension"] is None
    assert models[0]["task"] == "embed"
    assert models[0]["default"]
    assert server.post({"input": "a"}).json()["model"] == "fake"
    assert [m["name"] for m in httpx.get(server.url + "/api/tags").json()["models"]] == ["fake:latest"]


def test_an_embedding_model_as_reranker_is_refused_at_start_by_name():
    from embedserve.backends.fake import FakeBackend, FakeTokenizer
    from embedserve.serving.loading import Found, Loaded
    from embedserve.serving.runtime import Runtime
    from embedserve.settings import Settings
    from support.live import FAKE_SPEC

    async def start():
        settings = Settings(cache="off", rerank_model="fake")
        runtime = Runtime(
            settings,
            load=lambda *_: Loaded(FAKE_SPEC, FakeBackend(), FakeTokenizer(), "0", "folder"),
            find=lambda *_: Found(FAKE_SPEC, "0", "folder", "", 0),
        )
        await runtime.load()
        await runtime.close()
        return runtime.failure

    import asyncio

    failure = asyncio.run(start())
    assert "EMBEDDING_RERANK_MODEL" in failure.message
    assert "cross-encoder" in failure.message


def test_requests_are_counted_with_the_embedding_requests(server):
    ranked(server)
    metrics = httpx.get(server.url + "/metrics").text
    assert 'path="/v1/rerank",status="200"' in metrics


def test_scores_do_not_depend_on_the_company(server):
    rows = ranked(server)["results"]
    alone = [ranked(server, [text])["results"][0]["relevance_score"] for text in DOCUMENTS]
    np.testing.assert_allclose([row["relevance_score"] for row in rows], [alone[row["index"]] for row in rows])
