"""Damaged and odd bodies over every parser of both servers: an answer below 500, soon, and the server works on.

Seeded, so that a failure can be run again. Mutations of real requests reach further than random bytes do.
"""

import os
import random
import time

import httpx
import orjson
import pytest
from starlette.testclient import TestClient

from embedserve.vectordb.app import create_app
from embedserve.vectordb.storage import Storage
from support.live import fake_server

JSON = {"content-type": "application/json"}
ROUNDS = int(os.environ.get("MUTATIONS", "60"))  # a route; MUTATIONS=5000 takes minutes
SECONDS = 5.0  # for one answer on a busy machine: a hang is for ever

SERVICE = {
    "/v1/embeddings": [
        {"input": ["def add(a, b):", "x"], "model": "fake", "encoding_format": "base64", "dimensions": 4},
        {"input": [0, 5, 9, 1], "user": "u", "truncate": True, "output_dtype": "int8"},
    ],
    "/embed": [{"inputs": ["a", "b"], "truncate": True, "normalize": True}],
    "/api/embed": [{"model": "fake", "input": ["a"], "truncate": True, "options": {"num_ctx": 4}, "keep_alive": "5m"}],
    "/api/embeddings": [{"model": "fake", "prompt": "a"}],
    "/v2/embed": [{"model": "fake", "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]}],
    "/v1/rerank": [{"model": "fake", "query": "a", "documents": ["b", {"text": "c"}], "top_n": 1}],
    "/rerank": [{"query": "a", "texts": ["b"], "raw_scores": False}],
}
VECTOR = [0.5, 0.25, -1.0, 2.0]
MATCH = {"must": [{"key": "n", "match": {"value": 1}}], "must_not": [{"has_id": [3]}, {"is_empty": {"key": "m"}}]}
QDRANT = {
    "/points/query": [
        {"query": VECTOR, "limit": 3, "filter": MATCH, "with_payload": True, "params": {"exact": True}},
        {"prefetch": [{"query": VECTOR, "limit": 5}], "query": {"fusion": "rrf"}, "score_threshold": 0.1},
    ],
    "/points/search": [{"vector": VECTOR, "limit": 2, "with_vector": True, "offset": 1}],
    "/points/scroll": [{"limit": 2, "offset": 1, "filter": MATCH, "order_by": {"key": "n", "direction": "desc"}}],
    "/points/count": [{"exact": True, "filter": {"should": [{"key": "n", "range": {"gte": 1, "lt": 5}}]}}],
    "/points/payload": [{"payload": {"a": {"b": [1, None, "x"]}}, "points": [1], "key": "nested.path[0]"}],
    "/points/batch": [{"operations": [{"upsert": {"points": [{"id": 1, "vector": VECTOR, "payload": {"n": 1}}]}}]}],
    "/points/vectors/delete": [{"points": [9], "vector": [""]}],
    "/facet": [{"key": "n", "limit": 3}],
}

ODD = [
    *(b"null", b"-1", b"1e999", b"NaN", b"18446744073709551616", b"[]", b"{}", b"true", b"0.5", b'""'),
    *(b'"\\ud800"', b'"\xff\xfe"', b'"\\u0000"', b"[[[[[[[[]]]]]]]]", b'{"a":1,"a":2}', b"\xef\xbb\xbf"),
    b'"' + b"x" * 5000 + b'"',
]


def mutated(pick, body):
    """One to three damages: of the bytes, or of the value before it is written."""
    text = bytearray(orjson.dumps(_swapped(pick, body) if pick.random() < 0.5 else body))
    for _ in range(pick.randrange(3)):
        at = pick.randrange(len(text) + 1)
        how = pick.randrange(5)
        if how == 0:
            text[at : at + pick.randrange(1, 6)] = b""
        elif how == 1:
            text[at:at] = bytes(pick.randrange(256) for _ in range(pick.randrange(1, 4)))
        elif how == 2:
            text[at:at] = pick.choice(ODD)
        elif how == 3:
            stop = min(len(text), at + pick.randrange(1, 30))
            text[at:at] = text[at:stop] * pick.randrange(1, 4)
        else:
            del text[at:]
    for _ in range(pick.randrange(2)):  # a whole value replaced, the JSON still whole
        places = [i for i, byte in enumerate(text) if byte == ord(":")]
        if places:
            at = pick.choice(places) + 1
            text[at:at] = pick.choice(ODD) + b","
    return bytes(text)


def _swapped(pick, value):
    """The value with one part replaced by another part of it, or by something odd."""
    parts = list(_parts(value))
    chosen = pick.choice(parts)
    other = pick.choice([*parts, None, -1, 0, 1e308, "", [], {}, True, 2**63, "\0", ["a", 1], {"a": None}])

    def copy(part):
        if part is chosen:
            return other
        if isinstance(part, dict):
            return {key: copy(item) for key, item in part.items()}
        return [copy(item) for item in part] if isinstance(part, list) else part

    return copy(value)


def _parts(value):
    yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _parts(item)


def judge(send, path, bodies, seed):
    pick = random.Random(f"{seed} {path}")
    seen = set()
    for _ in range(ROUNDS):
        body = mutated(pick, pick.choice(bodies))
        start = time.monotonic()
        answer = send(path, body)
        assert answer.status_code < 500 or answer.status_code == 501, (path, body, answer.text)
        assert time.monotonic() - start < SECONDS, (path, body)
        if answer.status_code >= 400:
            assert orjson.loads(answer.content), (path, body)
        seen.add(answer.status_code)
    assert seen & {400, 404, 422}, "nothing was refused: the mutations reach nothing"


@pytest.fixture(scope="module")
def service():
    with fake_server(body_timeout=5.0) as server, httpx.Client(base_url=server.url, headers=JSON, timeout=30) as http:
        yield http


@pytest.mark.parametrize("path", SERVICE)
def test_the_service_answers_every_damaged_body(service, path):
    judge(lambda path, body: service.post(path, content=body), path, SERVICE[path], seed=1)
    assert service.post("/v1/embeddings", json={"input": "x"}).status_code == 200
    assert service.get("/ready").status_code == 200


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory):
    storage = Storage(tmp_path_factory.mktemp("s"), quiet=3600.0)
    with TestClient(create_app(storage), base_url="http://localhost", headers=JSON) as client:
        assert client.put("/collections/a", json={"vectors": {"size": 4, "distance": "Dot"}}).status_code == 200
        points = [{"id": i, "vector": VECTOR, "payload": {"n": i}} for i in range(8)]
        assert client.put("/collections/a/points", json={"points": points}).status_code == 200
        yield client


@pytest.mark.parametrize("path", QDRANT)
def test_the_vector_server_answers_every_damaged_body(qdrant, path):
    def send(path, body):
        return qdrant.post("/collections/a" + path, content=body)

    judge(send, path, QDRANT[path], seed=2)
    search = qdrant.post("/collections/a/points/query", json={"query": VECTOR, "limit": 8})
    assert search.status_code == 200
    assert search.json()["result"]["points"]
