"""What Qdrant has beyond the extensions' calls: requests of real libraries, aliases, PATCH, snapshots, BM25."""

import asyncio
import hashlib
import json
import random
import tarfile
from pathlib import Path

import httpx
import pytest
from qdrant_client import QdrantClient, models

from embedserve.vectordb.points import parse_scroll
from embedserve.vectordb.schema import parse_collection
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.updates import parse_delete, parse_set_payload, parse_upsert
from vectordb.conftest import Embedded, embedded_only

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


def test_the_requests_that_real_libraries_send_are_answered_as_they_should(http):
    http.delete("/collections/lc")
    for path in CASES:
        case = json.loads(path.read_text())
        reply = http.request(case["method"], case["path"], json=case["body"], headers=case["headers"])
        assert reply.status_code == case["expect_status"], f"{path.name}: {reply.text}"
        if case["path"] == "/cluster":
            assert reply.json()["result"] == {"status": "disabled"}
    points = http.post("/collections/lc/points/scroll", json={"with_vector": True}).json()["result"]["points"]
    assert {point["id"]: point["payload"] for point in points} == {1: {"page_content": "a", "z": 1}, 2: {}, 3: {"a": 1}}
    assert {point["id"]: point["vector"] for point in points} == {1: [1, 0, 0, 0], 2: [0, 1, 0, 0], 3: {}}
    assert http.get("/collections/lc").json()["result"]["config"]["params"]["vectors"]["size"] == 4
    http.delete("/collections/lc")


@pytest.fixture
def filled(http, collection):
    points = [{"id": i, "vector": [1, i / 10, 0, 0], "payload": {"n": i, "doc": i % 3}} for i in range(1, 8)]
    http.put(f"{collection}/points?wait=true", json={"points": points})
    return collection


def post(http, path, body, status=200):
    reply = http.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json().get("result")


def test_an_alias_is_another_name_until_it_is_moved_or_the_collection_goes(http, filled, name):
    alias = f"{name}-alias"
    actions = [{"create_alias": {"collection_name": name, "alias_name": alias}}]
    assert post(http, "/collections/aliases", {"actions": actions}) is True
    assert post(http, f"/collections/{alias}/points/count", {}) == {"count": 7}
    assert http.get(f"/collections/{alias}/exists").json()["result"] == {"exists": True}
    shown = {"alias_name": alias, "collection_name": name}
    assert shown in http.get("/aliases").json()["result"]["aliases"]
    assert http.get(f"{filled}/aliases").json()["result"]["aliases"] == [shown]
    assert http.put(f"/collections/{alias}", json={"vectors": {"size": 4, "distance": "Dot"}}).status_code in (400, 409)
    post(
        http,
        "/collections/aliases",
        {"actions": [{"rename_alias": {"old_alias_name": alias, "new_alias_name": alias + "2"}}]},
    )
    post(http, f"/collections/{alias}/points/count", {}, 404)
    assert post(http, f"/collections/{alias}2/points/count", {}) == {"count": 7}
    http.delete(filled)
    assert alias + "2" not in {item["alias_name"] for item in http.get("/aliases").json()["result"]["aliases"]}


def test_settings_are_changed_and_shown(http, filled):
    body = {
        "optimizers_config": {"indexing_threshold": 777},
        "hnsw_config": {"m": 24},
        "params": {"on_disk_payload": False},
    }
    assert http.patch(filled, json=body).json()["result"] is True
    config = http.get(filled).json()["result"]["config"]
    assert config["optimizer_config"]["indexing_threshold"] == 777
    assert config["hnsw_config"]["m"] == 24
    assert config["params"]["on_disk_payload"] is False
    assert http.patch(filled, json={"hnsw_config": {"mm": 24}}).status_code in (200, 400)
    assert post(http, f"{filled}/points/count", {}) == {"count": 7}


def test_a_change_of_points_that_are_not_there_is_404_and_changes_nothing(http, filled):
    post(http, f"{filled}/points/payload", {"payload": {"x": 1}, "points": [1, 99]}, 404)
    assert "x" not in http.get(f"{filled}/points/1").json()["result"]["payload"]


@embedded_only
def test_groups_look_up_records_of_another_collection(http, filled, name):
    documents = f"/collections/{name}-docs"
    http.put(documents, json={"vectors": {"size": 1, "distance": "Dot"}})
    http.put(
        f"{documents}/points",
        json={"points": [{"id": i, "vector": [1], "payload": {"title": f"t{i}"}} for i in (1, 2)]},
    )
    body = {"query": [1, 0, 0, 0], "group_by": "doc", "limit": 3, "group_size": 1, "with_lookup": f"{name}-docs"}
    groups = post(http, f"{filled}/points/query/groups", body)["groups"]
    assert [(g["id"], g.get("lookup", {}).get("payload")) for g in groups] == [
        (1, {"title": "t1"}),
        (2, {"title": "t2"}),
        (0, None),
    ]
    http.delete(documents)


def test_text_of_code_is_ranked_by_bm25_and_fused_with_vectors(http, collection):
    schema = {
        "type": "text", "tokenizer": "code", "lowercase": True, "scoring": {"type": "bm25"},
        "stemmer": {"type": "snowball", "language": "english"},
        "stopwords": {"languages": ["english"], "custom": ["def"]},
    }  # fmt: skip
    made = http.put(f"{collection}/index?wait=true", json={"field_name": "code", "field_schema": schema})
    if made.status_code == 400:
        pytest.skip("this Qdrant has no scored text index")
    shown = http.get(collection).json()["result"]["payload_schema"]["code"]
    assert shown["params"]["tokenizer"] == "code"
    texts = [
        "def getUserName(user): return user.name",
        "def close_socket(s): s.close()",
        "class SocketReader: reads bytes",
    ]
    points = [{"id": i, "vector": [1, i, 0, 0], "payload": {"code": text}} for i, text in enumerate(texts)]
    http.put(f"{collection}/points?wait=true", json={"points": points})

    def ids(**body):
        return [point["id"] for point in post(http, f"{collection}/points/query", body)["points"]]

    text = {"query": {"text": "user name"}, "using": "code"}
    assert ids(**text) == [0]
    assert sorted(
        ids(query={"text": {"query": "sockets", "scoring": {"bm25": {"k": 1.0, "b": 0.5}}}}, using="code")
    ) == [1, 2]
    assert ids(query={"text": "def"}, using="code") == []
    fused = ids(prefetch=[text | {"limit": 3}, {"query": [1, 2, 0, 0], "limit": 3}], query={"rrf": {"k": 60}}, limit=3)
    assert fused[0] == 0
    assert sorted(fused) == [0, 1, 2]
    post(http, f"{collection}/points/query", {"query": {"text": "x"}, "using": "other"}, 400)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("query", {"query": {"fusion": "rrf"}}),
        ("query", {"query": [1, 0, 0, 0], "using": "absent"}),
        ("query", {"query": {"indices": [1], "values": [1.0]}}),
        ("query", {"query": {"order_by": "unindexed"}}),
        ("query", {"query": {"recommend": {}}}),
        ("query", {"query": {"recommend": {"positive": [1], "strategy": "best"}}}),
        ("query", {"query": {"nearest": [1, 0, 0, 0], "mmr": {"diversity": 2}}}),
        ("query", {"query": {"formula": {"mult": "x"}}, "prefetch": {"query": [1, 0, 0, 0]}}),
        ("query", {"query": {"nonsense": 1}}),
        ("query", {"prefetch": {"query": [1, 0, 0, 0]}}),
        ("query", {"query": 99}),
        ("payload", {"payload": None, "points": [1]}),
        ("payload", {"payload": {"a": 1}}),
        ("payload", {"payload": {"a": 1}, "points": [1], "filter": {}}),
        ("payload/clear", {"points": None}),
        ("payload/delete", {"keys": None, "points": [1]}),
        ("vectors/delete", {"vector": ["absent"], "points": [1]}),
        ("batch", {"operations": [{"upsert": {"points": [{"id": 1, "vector": [1]}]}}]}),
        ("batch", {"operations": [{}]}),
    ],
)
def test_a_wrong_query_or_update_is_refused_and_changes_nothing(http, filled, call, body):
    before = post(http, f"{filled}/points/scroll", {"with_vector": True, "limit": 100})
    reply = http.post(f"{filled}/points/{call}", json=body)
    assert reply.status_code in (400, 404, 422), reply.text
    assert post(http, f"{filled}/points/scroll", {"with_vector": True, "limit": 100}) == before


@embedded_only
def test_a_snapshot_brings_a_collection_back_here_and_on_another_server(url, http, filled, name, tmp_path):
    made = post(http, f"{filled}/snapshots", None)
    assert [made] == http.get(f"{filled}/snapshots").json()["result"]
    content = http.get(f"{filled}/snapshots/{made['name']}").content
    assert len(content) == made["size"]
    assert hashlib.sha256(content).hexdigest() == made["checksum"]
    file = tmp_path / "copy.snapshot"
    file.write_bytes(content)
    http.post(f"{filled}/points/delete", json={"filter": {}})
    recover = {"location": file.as_uri(), "checksum": made["checksum"], "priority": "snapshot"}
    assert http.put(f"{filled}/snapshots/recover", json=recover).json()["result"] is True
    assert post(http, f"{filled}/points/count", {}) == {"count": 7}
    assert http.delete(f"{filled}/snapshots/{made['name']}").status_code in (200, 404)
    again = post(http, f"{filled}/snapshots", None)
    with Embedded(tmp_path / "other") as other, httpx.Client(base_url=other.url, timeout=30) as there:
        location = f"{url}/collections/{name}/snapshots/{again['name']}"
        recovered = there.put("/collections/new/snapshots/recover", json={"location": location})
        assert recovered.status_code == 200, recovered.text
        assert post(there, "/collections/new/points/count", {}) == {"count": 7}
        query = {"query": [1, 0.2, 0, 0], "limit": 1}
        assert post(there, "/collections/new/points/query", query)["points"][0]["id"] == 2


@embedded_only
@pytest.mark.parametrize("damage", ["foreign", "checksum", "no tar", "missing", "traversal", "scheme"])
def test_a_snapshot_that_is_not_one_leaves_the_collection_as_it_is(http, filled, tmp_path, damage):
    file = tmp_path / "x.snapshot"
    if damage != "missing":
        file.write_bytes(b"nonsense")
    if damage in ("foreign", "traversal"):
        inner = tmp_path / "config.json"
        inner.write_text("{}")
        with tarfile.open(file, "w") as tar:
            tar.add(inner, "0/segments/config.json" if damage == "foreign" else "../../evil")
    body = {"location": "ftp://x/y" if damage == "scheme" else file.as_uri()}
    if damage == "checksum":
        body["checksum"] = "0" * 64
    reply = http.put(f"{filled}/snapshots/recover", json=body)
    assert reply.status_code == 400, reply.text
    assert post(http, f"{filled}/points/count", {}) == {"count": 7}
    assert http.get(f"{filled}/snapshots/..%2f..%2fmeta.json").status_code == 404


@pytest.fixture
def snapshot(http, filled):
    made = post(http, f"{filled}/snapshots", None)
    return made, http.get(f"{filled}/snapshots/{made['name']}").content


@embedded_only
@pytest.mark.slow
def test_an_uploaded_snapshot_becomes_the_collection_on_another_server(snapshot, tmp_path):
    made, content = snapshot
    with Embedded(tmp_path / "other") as other, httpx.Client(base_url=other.url, timeout=30) as there:
        for params in ({}, {"priority": "snapshot", "checksum": made["checksum"]}):
            files = {"snapshot": (made["name"], content)}
            reply = there.post("/collections/new/snapshots/upload", params=params, files=files)
            assert reply.json()["result"] is True, reply.text
            assert post(there, "/collections/new/points/count", {}) == {"count": 7}
        assert [path.name for path in (tmp_path / "other").iterdir() if path.name.startswith(".uploaded")] == []


@embedded_only
@pytest.mark.parametrize(
    "damage",
    [
        "cut",
        "foreign",
        "json",
        "empty",
        *(pytest.param(d, marks=pytest.mark.slow) for d in ("checksum", "field", "second", "page")),
    ],
)
def test_an_upload_that_is_no_snapshot_leaves_the_collection_as_it_is(http, filled, snapshot, damage):
    _made, content = snapshot
    part = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\n%b\r\n'
    parts = [part % (b"snapshot", b"nonsense" if damage == "foreign" else content)]
    headers = {"content-type": "multipart/form-data; boundary=x"}
    if damage == "field":
        parts = [part % (b"other", content)]
    elif damage == "second":
        parts *= 2
    elif damage == "empty":
        parts = []
    elif damage == "page":
        headers["origin"] = "https://evil.example"
    body = b"".join(parts) + (b"" if damage == "cut" else b"--x--\r\n")
    if damage == "json":
        headers, body = {"content-type": "application/json"}, b'{"location": "file:///x"}'
    params = {"checksum": "0" * 64} if damage == "checksum" else {}
    reply = http.post(f"{filled}/snapshots/upload", params=params, headers=headers, content=body)
    assert reply.status_code == (403 if damage == "page" else 400), reply.text
    assert post(http, f"{filled}/points/count", {}) == {"count": 7}
    form = http.post(f"{filled}/points/count", headers=headers, content=body)
    assert form.status_code == {"page": 403, "json": 400}.get(damage, 415)  # a form is taken nowhere else


@embedded_only
def test_everything_moves_to_another_server_with_the_clients_own_migrate(url, http, filled, name, tmp_path):
    with Embedded(tmp_path / "other") as other:
        QdrantClient(url=url).migrate(QdrantClient(url=other.url), collection_names=[name], batch_size=3)
        moved = QdrantClient(url=other.url).scroll(name, limit=100, with_vectors=True)[0]
        assert [point.id for point in moved] == list(range(1, 8))
        assert moved[0].payload == {"n": 1, "doc": 1}


def test_named_and_sparse_vectors_live_through_an_index_build_and_a_restart(tmp_path):
    """What is written while the index is built is copied over: all of a point's vectors, and payload changes."""
    dense = {"size": 16, "distance": "Cosine"}
    config = parse_collection(
        {
            "vectors": {"": dense, "other": dense},
            "sparse_vectors": {"words": {"modifier": "idf"}},
            "optimizers_config": {"indexing_threshold": 10},
        }
    )

    def point(n, tag):
        rng = random.Random(n)
        row = [rng.gauss(0, 1) for _ in range(16)]
        vectors = {"": row, "words": {"indices": [n % 9, 10], "values": [1.0, 2.0]}} | ({"other": row} if n % 2 else {})
        return {"id": n, "vector": vectors, "payload": {"tag": tag}}

    async def state(collection):
        page = await collection.read(parse_scroll({"limit": 10_000, "with_vector": True}, collection.space).read)
        return {
            p["id"]: (p["payload"]["tag"], sorted(p["vector"]), sorted(p["vector"]["words"]["indices"]))
            for p in page["points"]
        }

    async def scenario():
        storage = Storage(tmp_path, quiet=3600.0)
        await storage.open()
        await storage.create("a", config)
        collection, space = storage.get("a"), storage.get("a").space
        tags = dict.fromkeys(range(400), "old")
        await collection.apply([parse_upsert({"points": [point(n, "old") for n in tags]}, space)])
        build, n = asyncio.create_task(collection.build_index()), 1000
        while not build.done():
            await collection.apply([parse_upsert({"points": [point(n, "new")]}, space)])
            changed, gone = 2 * n % 400, (2 * n + 1) % 400
            await collection.apply([parse_set_payload({"payload": {"tag": "set"}, "points": [changed]}, space)])
            await collection.apply([parse_delete({"points": [gone]}, space)])
            tags |= {n: "new", changed: "set"}
            tags.pop(gone, None)
            await asyncio.sleep(0.02)
            n += 1
        await build
        expected = {k: (tag, sorted(point(k, "")["vector"]), sorted({k % 9, 10})) for k, tag in tags.items()}
        assert await state(collection) == expected
        await storage.close()
        storage = Storage(tmp_path, quiet=3600.0)
        await storage.open()
        assert await state(storage.get("a")) == expected
        await storage.close()

    asyncio.run(scenario())


def test_the_models_of_the_client_read_every_answer_about_a_collection(url, http, filled):
    info = QdrantClient(url=url).get_collection(filled.rsplit("/", 1)[1])
    assert isinstance(info, models.CollectionInfo)
    assert info.points_count == 7
