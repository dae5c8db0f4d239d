"""Memory runs out at any step of a request: 503 with Retry-After, no slot is lost, the next request is answered."""

import pytest

from support.live import fake_server


def no_memory(*_args, **_kwargs):
    raise MemoryError


def first_model(server):
    return server.runtime.models[0].engine


STEPS = {
    "reading the body": lambda server, patch: patch.setattr("embedserve.api.routes.openai.load_object", no_memory),
    "tokenising": lambda server, patch: patch.setattr(first_model(server).tokenizer, "encode", no_memory),
    "looking into the cache": lambda server, patch: patch.setattr(first_model(server).cache, "get_many", no_memory),
    "computing": lambda server, patch: patch.setattr(server.backend, "fail", no_memory),
    "putting the rows together": lambda server, patch: patch.setattr("embedserve.engine.engine._assemble", no_memory),
    "writing the answer": lambda server, patch: patch.setattr(
        "embedserve.api.routes.openai.embeddings_body", no_memory
    ),
}


@pytest.fixture(scope="module")
def server():
    with fake_server(cache="memory") as server:
        yield server


@pytest.mark.parametrize("path", ["/v1/embeddings", "/openai/deployments/fake/embeddings"])
@pytest.mark.parametrize("step", STEPS)
def test_the_request_is_503_and_the_next_one_works(server, step, path, monkeypatch):
    body = {"input": [f"{step} {path}", "another"]}
    with monkeypatch.context() as patch:
        STEPS[step](server, patch)
        refused = server.post(body, path=path)
    assert refused.status_code == 503, refused.text
    assert refused.json()["error"]["code"] == "out_of_memory"
    assert int(refused.headers["retry-after"]) >= 1
    server.wait_for(lambda: server.runtime.admission.active == 0)
    assert server.post(body, path=path).status_code == 200


def test_storing_vectors_without_memory_costs_the_cache_and_not_the_answer(server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(first_model(server).cache, "put_many", no_memory)
        assert server.post({"input": "storing"}).status_code == 200
    assert server.post({"input": "storing again"}).status_code == 200
