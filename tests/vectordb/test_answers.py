"""What each endpoint answers, right and wrong. Everything here holds for a real Qdrant too, unless marked."""

import uuid

import pytest

from vectordb.conftest import embedded_only

SIZE = 4
A, B, C = str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), str(uuid.UUID(int=3))
POINTS = [
    {"id": 1, "vector": [1, 0, 0, 0], "payload": {"lang": "py", "n": 5, "tags": ["a", "b"], "deep": {"0": "src"}}},
    {"id": 2, "vector": [1, 1, 0, 0], "payload": {"lang": "js", "n": 7, "tags": [], "open": True}},
    {"id": 3, "vector": [0, 1, 0, 0], "payload": {"lang": "py", "n": 9.5, "at": "2026-01-02T03:04:05Z"}},
    {"id": A, "vector": [0, 0, 0, 0], "payload": {"type": "metadata", "none": None}},
    {"id": B, "vector": [-1, 0, 0, 0]},
]


@pytest.fixture
def filled(http, collection):
    reply = http.put(f"{collection}/points?wait=true", json={"points": POINTS})
    assert reply.json()["result"]["status"] == "completed"
    return collection


def ids(points):
    return {point["id"] for point in points}


def count(http, path, condition):
    reply = http.post(f"{path}/points/count", json={"filter": condition, "exact": True})
    assert reply.status_code == 200, reply.text
    return reply.json()["result"]["count"]


def key(name, **condition):
    return {"key": name, **condition}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, {1, 2, 3, A, B}),
        ({"must": []}, {1, 2, 3, A, B}),
        ({"must": None}, {1, 2, 3, A, B}),
        ({"should": []}, {1, 2, 3, A, B}),
        ({"must": [key("lang", match={"value": "py"})]}, {1, 3}),
        ({"must": key("lang", match={"value": "py"})}, {1, 3}),
        ({"must_not": [key("lang", match={"value": "py"})]}, {2, A, B}),
        ({"should": [key("n", match={"value": 5}), key("open", match={"value": True})]}, {1, 2}),
        ({"must": [key("deep.0", match={"value": "src"})]}, {1}),
        ({"must": [key("tags", match={"value": "b"})]}, {1}),
        ({"must": [key("lang", match={"any": ["js", "go"]})]}, {2}),
        ({"must": [key("lang", match={"any": []})]}, set()),
        ({"must": [key("n", match={"any": [5, 7]})]}, {1, 2}),
        ({"must": [key("lang", match={"except": ["js"]})]}, {1, 3}),
        ({"must": [key("n", range={"gte": 5, "lt": 9.5})]}, {1, 2}),
        ({"must": [key("n", range={"gt": 9})]}, {3}),
        ({"must": [key("at", range={"gte": "2026-01-01T00:00:00Z"})]}, {3}),
        ({"must": [key("tags", values_count={"gte": 1})]}, {1}),
        ({"must": [{"is_empty": {"key": "lang"}}]}, {A, B}),
        ({"must": [{"is_empty": {"key": "tags"}}]}, {2, 3, A, B}),
        ({"must": [{"is_null": {"key": "none"}}]}, {A}),
        ({"must": [{"has_id": [1, A, 99]}]}, {1, A}),
        ({"must_not": [{"has_id": [1, A.upper()]}]}, {2, 3, B}),
        ({"min_should": {"conditions": [key("lang", match={"value": "py"}), key("n", range={"gt": 6})],
                         "min_count": 2}}, {3}),
        ({"should": [{"must": [key("lang", match={"value": "py"}), key("n", match={"value": 5})]},
                     {"must_not": [{"is_empty": {"key": "open"}}]}]}, {1, 2}),
        ({"must": [{"should": [{"has_id": [1]}, {"has_id": [2]}]}], "must_not": [{"has_id": [2]}]}, {1}),
    ],
)  # fmt: skip
def test_filters_choose_the_right_points(http, filled, condition, expected):
    reply = http.post(f"{filled}/points/scroll", json={"filter": condition, "limit": 100})
    assert reply.status_code == 200, reply.text
    assert ids(reply.json()["result"]["points"]) == expected
    assert count(http, filled, condition) == len(expected)


@pytest.mark.parametrize("kind", ["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"])
def test_every_kind_of_payload_index_is_made_shown_and_deleted(http, filled, kind):
    for schema in (kind, {"type": kind}):
        made = http.put(f"{filled}/index?wait=true", json={"field_name": "x.y", "field_schema": schema})
        assert made.json()["result"]["status"] == "completed", made.text
        shown = http.get(filled).json()["result"]["payload_schema"]
        assert shown["x.y"]["data_type"] == kind
        assert http.delete(f"{filled}/index/x.y?wait=true").json()["result"]["status"] == "completed"
        assert "x.y" not in http.get(filled).json()["result"]["payload_schema"]


def test_a_text_index_matches_words(http, filled):
    schema = {"type": "text", "tokenizer": "word", "lowercase": True}
    http.put(f"{filled}/index?wait=true", json={"field_name": "doc", "field_schema": schema})
    point = {"id": 9, "vector": [0, 0, 1, 0], "payload": {"doc": "Reads a Socket until it closes"}}
    http.put(f"{filled}/points?wait=true", json={"points": [point]})
    assert count(http, filled, {"must": [key("doc", match={"text": "socket reads"})]}) == 1
    assert count(http, filled, {"must": [key("doc", match={"text": "socket writes"})]}) == 0


@pytest.mark.parametrize(
    ("distance", "order", "threshold", "kept"),
    [
        ("Cosine", [1, 2, 3], 0.5, [1, 2]),
        ("Dot", [2, 1, 3], 1.5, [2]),
        ("Euclid", [1, 3, 2], 1.5, [1, 3]),
        ("Manhattan", [1, 3, 2], 1.5, [1]),
    ],
)
def test_distances_order_and_cut_as_they_should(http, name, distance, order, threshold, kept):
    path = f"/collections/{name}"
    http.put(path, json={"vectors": {"size": 2, "distance": distance}})
    points = [{"id": 1, "vector": [1, 0.1]}, {"id": 2, "vector": [3, 1]}, {"id": 3, "vector": [0, 1]}]
    http.put(f"{path}/points?wait=true", json={"points": points})
    body = {"query": [1, 0], "limit": 10}
    found = http.post(f"{path}/points/query", json=body).json()["result"]["points"]
    assert [point["id"] for point in found] == order
    cut = http.post(f"{path}/points/query", json=body | {"score_threshold": threshold}).json()
    assert [point["id"] for point in cut["result"]["points"]] == kept


def test_query_takes_offset_exactness_ids_and_what_to_show(http, filled):
    def query(**body):
        reply = http.post(f"{filled}/points/query", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()["result"]["points"]

    assert [p["id"] for p in query(query=[1, 0, 0, 0], limit=2)] == [1, 2]
    assert query(query=[1, 0, 0, 0], limit=2, offset=1)[0]["id"] == 2
    assert [p["id"] for p in query(query={"nearest": [1, 0, 0, 0]}, limit=1, params={"exact": True})] == [1]
    assert 1 not in ids(query(query=1, limit=10))  # like this point: the point itself is left out
    assert query(query=1, limit=1)[0]["id"] == 2
    assert len(query(limit=3)) == 3
    bare = query(query=[1, 0, 0, 0], limit=1)[0]
    assert not bare.get("payload")
    assert not bare.get("vector")
    assert query(query=[1, 0, 0, 0], limit=1, with_payload=["lang"])[0]["payload"] == {"lang": "py"}
    without = query(query=[1, 0, 0, 0], limit=1, with_payload={"exclude": ["lang", "tags"]})[0]["payload"]
    assert without == {"n": 5, "deep": {"0": "src"}}
    assert query(query=[1, 0, 0, 0], limit=1, with_vector=True)[0]["vector"] == [1, 0, 0, 0]


def test_batch_query_and_the_older_search_answer_the_same(http, filled):
    one = {"limit": 2, "with_payload": True}
    queries = {"searches": [one | {"query": [1, 0, 0, 0]}, one | {"query": [0, 1, 0, 0]}]}
    searches = {"searches": [one | {"vector": [1, 0, 0, 0]}, one | {"vector": [0, 1, 0, 0]}]}
    batch = http.post(f"{filled}/points/query/batch", json=queries).json()["result"]
    older = http.post(f"{filled}/points/search/batch", json=searches).json()["result"]
    single = http.post(f"{filled}/points/search", json=searches["searches"][0]).json()["result"]
    assert [answer["points"] for answer in batch] == older
    assert older[0] == single
    assert [point["id"] for point in single] == [1, 2]


def test_a_zero_vector_is_kept_as_it_is_and_scores_zero(http, filled):
    got = http.post(f"{filled}/points", json={"ids": [A], "with_vector": True}).json()["result"][0]
    assert got["vector"] == [0, 0, 0, 0]
    body = {"query": [1, 0, 0, 0], "limit": 10, "filter": {"must": [{"has_id": [A]}]}}
    assert http.post(f"{filled}/points/query", json=body).json()["result"]["points"][0]["score"] == 0
    zero = http.post(f"{filled}/points/query", json={"query": [0, 0, 0, 0], "limit": 10}).json()
    assert {point["score"] for point in zero["result"]["points"]} == {0}


def test_scroll_walks_through_everything_once(http, filled):
    seen, offset = [], None
    while True:
        body = {"limit": 2, "offset": offset, "with_payload": False}
        page = http.post(f"{filled}/points/scroll", json=body).json()["result"]
        seen += [point["id"] for point in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            break
    assert seen == [1, 2, 3, A, B]


def test_points_by_id_and_by_default_with_payload(http, filled):
    got = http.post(f"{filled}/points", json={"ids": [3, A, 77]}).json()["result"]
    assert [point["id"] for point in got] == [3, A]
    assert got[0]["payload"] == POINTS[2]["payload"]
    assert http.get(f"{filled}/points/{A}").json()["result"]["payload"] == POINTS[3]["payload"]
    assert http.get(f"{filled}/points/77").status_code == 404


def test_an_upsert_replaces_the_whole_point_and_the_last_one_wins(http, filled):
    batch = {"ids": [1, 1], "vectors": [[0, 0, 1, 0], [0, 0, 0, 1]], "payloads": [{"a": 1}, {"b": 2}]}
    reply = http.put(f"{filled}/points?wait=true", json={"batch": batch})
    assert reply.status_code == 200, reply.text
    got = http.get(f"{filled}/points/1").json()["result"]
    assert got["vector"] == [0, 0, 0, 1]
    assert got["payload"] == {"b": 2}
    assert count(http, filled, {}) == 5


def test_delete_by_ids_ignores_those_that_are_not_there(http, filled):
    reply = http.post(f"{filled}/points/delete?wait=true", json={"points": [1, A, C, 12345]})
    assert reply.json()["result"]["status"] == "completed"
    assert count(http, filled, {}) == 3


def test_without_wait_the_write_is_acknowledged(http, filled):
    for query in ("", "?wait=false"):
        reply = http.post(f"{filled}/points/delete{query}", json={"points": [1]})
        assert reply.json()["result"]["status"] == "acknowledged"


def test_collections_are_listed_exist_and_are_not_made_twice(http, collection, name):
    assert name in {item["name"] for item in http.get("/collections").json()["result"]["collections"]}
    assert http.get(f"{collection}/exists").json()["result"] == {"exists": True}
    assert http.get(f"{collection}-other/exists").json()["result"] == {"exists": False}
    again = http.put(collection, json={"vectors": {"size": 4, "distance": "Cosine"}})
    assert again.status_code == 409
    assert again.json()["status"]["error"] == f"Wrong input: Collection `{name}` already exists!"


def test_deleting_a_collection_that_is_not_there_is_no_error(http, name):
    reply = http.delete(f"/collections/{name}")
    assert (reply.status_code, reply.json()["result"]) == (200, False)


def test_health_needs_nothing(http):
    for path in ("/healthz", "/livez", "/readyz"):
        reply = http.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("call", ["points", "points/delete", "points/scroll", "points/count", "points/query"])
def test_every_call_on_a_missing_collection_is_404_in_qdrants_shape(http, name, call):
    body = {"points": {"ids": [1]}, "points/delete": {"points": [1]}, "points/query": {"query": [1, 0, 0, 0]}}
    reply = http.post(f"/collections/{name}/{call}", json=body.get(call, {}))
    assert reply.status_code == 404
    assert reply.json()["status"]["error"] == f"Not found: Collection `{name}` doesn't exist!"
    assert reply.json().get("result") is None


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("query", {"query": [1, 0, 0]}),
        ("query", {"query": "not-an-id"}),
        ("query", {"query": [1, 0, 0, 0], "filter": {"musst": []}}),
        ("query", {"query": [1, 0, 0, 0], "filter": {"must": [{"key": "a"}]}}),
        ("query", {"query": [1, 0, 0, 0], "filter": {"must": [key("a", match={"value": 1.5})]}}),
        ("query", {"query": [1, 0, 0, 0], "filter": {"must": [key("a", match={"any": [1, "x"]})]}}),
        ("query", {"query": [1, 0, 0, 0], "limit": "five"}),
        ("query", {"query": [1, 0, 0, 0], "limit": -1}),
        ("delete", {}),
        ("delete", {"points": ["not-an-id"]}),
        ("delete", {"points": [-1]}),
        ("delete", {"points": [1.5]}),
        ("scroll", {"offset": "not-an-id"}),
        ("scroll", {"filter": []}),
        ("count", {"exact": "yes"}),
    ],
)
def test_wrong_bodies_are_400_in_qdrants_shape(http, filled, call, body):
    reply = http.post(f"{filled}/points/{call}", json=body)
    assert reply.status_code in (400, 422), reply.text
    assert isinstance(reply.json()["status"]["error"], str)


@pytest.mark.parametrize(
    "point",
    [
        {"id": 1, "vector": [1, 0, 0]},
        {"id": 1, "vector": [1, 0, 0, None]},
        {"id": 1, "vector": [1, 0, 0, "0"]},
        {"id": 1, "vector": [1, 0, 0, True]},
        {"id": 1, "vector": None},
        {"id": 1},
        {"vector": [1, 0, 0, 0]},
        {"id": "abc", "vector": [1, 0, 0, 0]},
        {"id": -1, "vector": [1, 0, 0, 0]},
        {"id": 1, "vector": [1, 0, 0, 0], "payload": []},
    ],
)
def test_a_wrong_point_is_refused_and_nothing_of_its_batch_is_written(http, collection, point):
    good = {"id": 7, "vector": [1, 0, 0, 0]}
    reply = http.put(f"{collection}/points?wait=true", json={"points": [good, point]})
    assert reply.status_code == 400, reply.text
    assert isinstance(reply.json()["status"]["error"], str)
    assert count(http, collection, {}) == 0


def test_messages_name_the_wrong_dimension_and_the_wrong_id(http, collection):
    def error(point):
        reply = http.put(f"{collection}/points?wait=true", json={"points": [point]})
        return reply.json()["status"]["error"]

    assert error({"id": 1, "vector": [1, 0]}) == "Wrong input: Vector dimension error: expected dim: 4, got 2"
    assert "value abc is not a valid point ID" in error({"id": "abc", "vector": [1, 0, 0, 0]}).replace("'", "")


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"points": [}', b"\xff"])
def test_a_body_that_is_no_json_is_400(http, collection, body):
    reply = http.put(f"{collection}/points", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert "error" in reply.json()["status"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"vectors": {"size": 4}}, 400),
        ({"vectors": {"size": 4, "distance": "cosine"}}, 400),
        ({"vectors": {"size": "4", "distance": "Cosine"}}, 400),
        ({"vectors": {"size": 0, "distance": "Cosine"}}, 422),
        ({"vectors": {"size": 70000, "distance": "Cosine"}}, 422),
        ({"vectors": {"size": 4, "distance": "Cosine"}, "hnsw_config": {"ef_construct": 1}}, 422),
    ],
)
@embedded_only
def test_wrong_settings_of_a_collection_are_refused_and_it_is_not_made(http, name, body, status):
    reply = http.put(f"/collections/{name}", json=body)
    assert reply.status_code == status, reply.text
    assert http.get(f"/collections/{name}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "{c}/points", {"points": [{"id": 1, "vector": [1, 0, 0, 0], "extra": 1}]}, "extra"),
        ("PUT", "{c}/points", {"points": [], "extra": 1}, "extra"),
        ("POST", "{c}/points/query", {"query": [1, 0, 0, 0], "limt": 1}, "limt"),
        ("POST", "{c}/points/query", {"query": [1, 0, 0, 0], "params": {"ef": 1}}, "ef"),
        ("POST", "{c}/points/query", {"query": [1, 0, 0, 0], "with_payload": {"only": []}}, "only"),
        ("POST", "{c}/points/delete", {"points": [1], "force": True}, "force"),
        ("POST", "{c}/points/scroll", {"page": 1}, "page"),
        ("PUT", "{c}/index", {"field_name": "a", "field_schema": {"type": "keyword", "fast": True}}, "fast"),
        ("PUT", "{c}-b", {"vectors": {"size": 4, "distance": "Cosine", "sise": 1}}, "sise"),
        ("PUT", "{c}-b", {"vectors": {"size": 4, "distance": "Cosine"}, "hnsw": {}}, "hnsw"),
    ],
)
@embedded_only
def test_an_unknown_field_is_an_error_that_names_it(http, collection, method, path, body, field):
    reply = http.request(method, path.format(c=collection), json=body)
    assert reply.status_code == 400
    assert f"unknown field `{field}`" in reply.json()["status"]["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "feature"),
    [
        ("GET", "/telemetry", None, "administration"),
        ("GET", "/cluster/telemetry", None, "administration"),
        ("POST", "/snapshots", None, "snapshots of the whole storage"),
        ("POST", "{c}/points/search/matrix/pairs", {}, "distance matrices"),
        ("GET", "{c}/cluster", None, "cluster and shard"),
        ("PUT", "{c}/points", {"points": [], "shard_key": "a"}, "custom sharding"),
        ("PUT", "{c}/points", {"points": [{"id": 1, "vector": {"text": "x", "model": "bm25"}}]}, "inference"),
        ("POST", "{c}/points/query", {"query": {"text": "x", "model": "bm25"}}, "inference"),
        ("PUT", "{c}-b", {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2}, "cluster"),
        ("PATCH", "{c}", {"quantization_config": {"product": {"compression": "x16"}}}, "quantization"),
    ],
)  # fmt: skip
@embedded_only
def test_what_is_not_supported_is_501_and_points_to_the_full_server(http, collection, method, path, body, feature):
    reply = http.request(method, path.format(c=collection), json=body)
    assert reply.status_code == 501, reply.text
    assert feature in reply.json()["status"]["error"]
    assert "full Qdrant server" in reply.json()["status"]["error"]


@pytest.mark.parametrize("depth", [50, 99, 101, 127, 130, 255, 1000, 5000])
@embedded_only
def test_deeply_nested_bodies_are_an_answer_and_never_a_crash(http, filled, depth):
    def send(method, path, body):
        return http.request(method, filled + path, content=body, headers={"content-type": "application/json"})

    payload = '{"a":' * depth + "1" + "}" * depth
    reply = send("PUT", "/points?wait=true", '{"points":[{"id":5,"vector":[1,0,0,0],"payload":' + payload + "}]}")
    assert reply.status_code == (200 if depth < 100 else 400), reply.text
    condition = '{"must":[' * (depth // 2) + "]}" * (depth // 2)
    reply = send("POST", "/points/count", '{"filter":' + condition + "}")
    assert reply.status_code in (200, 400), reply.text
    assert http.get("/readyz").status_code == 200
    everything = http.post(f"{filled}/points/scroll", json={"limit": 100, "with_payload": True})
    assert everything.status_code == 200, everything.text


@pytest.mark.parametrize("limit", [1_000_000, 4_000_000_000])
@embedded_only
def test_a_huge_limit_costs_no_memory(http, filled, limit):
    for call, body in (("query", {"query": [1, 0, 0, 0]}), ("scroll", {})):
        reply = http.post(f"{filled}/points/{call}", json=body | {"limit": limit})
        assert len(reply.json()["result"]["points"]) == 5


def test_numbers_beyond_float32_and_64_bits_are_refused(http, collection):
    for point in ({"id": 1, "vector": [1e39, 0, 0, 0]}, {"id": 1 << 64, "vector": [1, 0, 0, 0]}):
        assert http.put(f"{collection}/points?wait=true", json={"points": [point]}).status_code == 400
