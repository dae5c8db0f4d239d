"""Every call that Roo Code and Zoo Code make, in their order, with the answers checked field by field."""

import math
import random

import httpx
import pytest

DIM = 8
MARKER = "f70bfc2c-6e82-5456-9c20-33b51942337c"
CREATE = {
    "vectors": {"size": DIM, "distance": "Cosine", "on_disk": True},
    "hnsw_config": {"m": 64, "ef_construct": 512, "on_disk": True},
}
SEARCH = {
    "score_threshold": 0.4,
    "limit": 50,
    "params": {"hnsw_ef": 128, "exact": False},
    "with_payload": {"include": ["filePath", "codeChunk", "startLine", "endLine", "pathSegments"]},
}
NO_MARKER = {"must_not": [{"key": "type", "match": {"value": "metadata"}}]}


def result(reply: httpx.Response) -> object:
    """The result of a successful envelope."""
    body = reply.json()
    assert reply.status_code == 200, body
    assert body["status"] == "ok"
    assert isinstance(body["time"], float)
    assert reply.headers["content-type"] == "application/json"
    return body["result"]


def points() -> list[dict]:
    """Six chunks in three files; the first coordinate tells how near each is to the query."""
    paths = [["src", "a.py"], ["src", "a.py"], ["src", "deep", "b.py"], ["tests", "test_a.py"], ["README.md"], ["src"]]
    made = []
    for i, segments in enumerate(paths):
        angle = 0.2 * i
        made.append(
            {
                "id": f"0000000{i}-6e82-5456-9c20-33b51942337c",
                "vector": [math.cos(angle), math.sin(angle), *[0.0] * (DIM - 2)],
                "payload": {
                    "filePath": "/".join(segments),
                    "codeChunk": f"chunk {i} — ключ",
                    "startLine": 10 * i + 1,
                    "endLine": 10 * i + 9,
                    "segmentHash": f"{i:064x}",
                    "pathSegments": {str(n): segment for n, segment in enumerate(segments)},
                },
            }
        )
    return made


def query(http: httpx.Client, path: str, must: list | None = None) -> list[dict]:
    condition = NO_MARKER | ({"must": must} if must else {})
    body = SEARCH | {"query": [1.0, *[0.0] * (DIM - 1)], "filter": condition}
    return result(http.post(f"{path}/points/query", json=body))["points"]


def under(*segments: str) -> list[dict]:
    return [{"key": f"pathSegments.{i}", "match": {"value": segment}} for i, segment in enumerate(segments)]


def test_the_whole_life_of_an_index_as_the_clients_drive_it(http, name):
    path = f"/collections/{name}"

    version = http.get("/").json()
    assert version["title"].startswith("qdrant")
    assert version["version"].count(".") == 2

    missing = http.get(path)
    assert missing.status_code == 404
    assert missing.json()["status"]["error"] == f"Not found: Collection `{name}` doesn't exist!"

    assert result(http.put(path, json=CREATE)) is True
    for field in ["type", *(f"pathSegments.{i}" for i in range(5))]:
        index = {"field_name": field, "field_schema": "keyword"}
        updated = result(http.put(f"{path}/index", json=index))
        assert updated["status"] in ("acknowledged", "completed")
        assert isinstance(updated["operation_id"], int)

    info = result(http.get(path))
    assert info["config"]["params"]["vectors"] == CREATE["vectors"]
    assert CREATE["hnsw_config"].items() <= info["config"]["hnsw_config"].items()
    assert info["points_count"] == 0
    assert info["status"] == "green"

    begun = {"type": "metadata", "indexing_complete": False, "started_at": 1}
    marker = {"id": MARKER, "vector": [0] * DIM, "payload": begun}
    for batch in (points(), [marker]):
        updated = result(http.put(f"{path}/points?wait=true", json={"points": batch}))
        assert updated["status"] == "completed"
    assert result(http.get(path))["points_count"] == 7
    schema = result(http.get(path))["payload_schema"]
    assert schema["type"] == {"data_type": "keyword", "points": 1}
    assert schema["pathSegments.1"] == {"data_type": "keyword", "points": 4}

    found = query(http, path)
    assert [hit["payload"]["startLine"] for hit in found] == [1, 11, 21, 31, 41, 51]
    for i, hit in enumerate(found):
        assert set(hit) == {"id", "version", "score", "payload"}
        assert hit["id"] == points()[i]["id"]
        assert hit["score"] == pytest.approx(math.cos(0.2 * i), abs=1e-6)
        wanted = points()[i]["payload"]
        wanted.pop("segmentHash")
        assert hit["payload"] == wanted

    assert [hit["payload"]["startLine"] for hit in query(http, path, under("src"))] == [1, 11, 21, 51]
    assert [hit["payload"]["startLine"] for hit in query(http, path, under("src", "deep"))] == [21]
    assert query(http, path, under("nowhere")) == []

    done = {"type": "metadata", "indexing_complete": True, "completed_at": 2}
    result(http.put(f"{path}/points?wait=true", json={"points": [marker | {"payload": done}]}))
    got = result(http.post(f"{path}/points", json={"ids": [MARKER], "with_payload": True}))
    assert [(point["id"], point["payload"]) for point in got] == [(MARKER, done)]

    deleted = {"filter": {"must": under("src", "a.py")}}
    assert result(http.post(f"{path}/points/delete?wait=true", json=deleted))["status"] == "completed"
    assert [hit["payload"]["startLine"] for hit in query(http, path)] == [21, 31, 41, 51]
    several = {"filter": {"should": [{"must": under("tests", "test_a.py")}, {"must": under("README.md")}]}}
    result(http.post(f"{path}/points/delete?wait=true", json=several))
    assert [hit["payload"]["startLine"] for hit in query(http, path)] == [21, 51]

    result(http.post(f"{path}/points/delete?wait=true", json={"filter": {"must": []}}))
    assert result(http.get(path))["points_count"] == 0
    assert query(http, path) == []

    assert result(http.delete(path)) is True
    assert http.get(path).status_code == 404
    other = CREATE | {"vectors": CREATE["vectors"] | {"size": DIM * 2}}
    assert result(http.put(path, json=other)) is True  # the clients' way after a change of model
    assert result(http.get(path))["config"]["params"]["vectors"]["size"] == DIM * 2


def test_a_batch_of_60_with_768_numbers_comes_back_as_it_went_in(http, name):
    path, rng = f"/collections/{name}", random.Random(0)
    result(http.put(path, json={"vectors": {"size": 768, "distance": "Cosine", "on_disk": True}}))
    batch = [{"id": i, "vector": [rng.gauss(0, 1) for _ in range(768)], "payload": {"n": i}} for i in range(60)]
    result(http.put(f"{path}/points?wait=true", json={"points": batch}))
    got = result(http.post(f"{path}/points", json={"ids": list(range(60)), "with_vector": True}))
    assert [point["id"] for point in sorted(got, key=lambda point: point["id"])] == list(range(60))
    for point in got:
        length = math.sqrt(sum(x * x for x in batch[point["id"]]["vector"]))
        assert point["vector"] == pytest.approx([x / length for x in batch[point["id"]]["vector"]], abs=1e-6)
        assert point["payload"] == {"n": point["id"]}
