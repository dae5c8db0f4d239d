"""The calls of AnythingLLM, Open WebUI and Dify, in their order, with the client that each of them uses.

Replayed from their public sources, since none of them can be installed as a library: what is tested is that each call
is answered as the program's next step needs it.
"""

import uuid

import pytest
from qdrant_client import QdrantClient, models

WITHOUT_BOUND = 999_999_999  # Open WebUI's limit for "all"


@pytest.fixture
def client(url):
    client = QdrantClient(url=url, timeout=60)
    yield client
    client.close()


def test_anythingllm_heartbeat_namespace_batch_search_delete(http, name):
    """js-client-rest; a workspace is a collection, documents are upserted as columns."""
    assert http.get("/cluster").status_code == 200
    assert http.get(f"/collections/{name}").status_code == 404  # "namespaceExists"
    body = {"vectors": {"size": 3, "distance": "Cosine"}}
    assert http.put(f"/collections/{name}", json=body).json()["result"] is True
    ids = [str(uuid.uuid4()) for _ in range(5)]
    batch = {
        "ids": ids,
        "vectors": [[1.0, n / 10, 0.0] for n in range(5)],
        "payloads": [{"text": f"t{n}", "title": "a.txt"} for n in range(5)],
    }
    reply = http.put(f"/collections/{name}/points?wait=true", json={"batch": batch}).json()
    assert reply["result"]["status"] == "completed"
    info = http.get(f"/collections/{name}").json()["result"]
    assert (info["status"], info["points_count"]) == ("green", 5)
    search = {"vector": [1.0, 0.0, 0.0], "limit": 4, "with_payload": True}
    hits = http.post(f"/collections/{name}/points/search", json=search).json()["result"]
    assert [hit["payload"]["text"] for hit in hits] == ["t0", "t1", "t2", "t3"]
    assert hits[0]["score"] == pytest.approx(1)
    http.post(f"/collections/{name}/points/delete?wait=true", json={"points": ids[:2]}).raise_for_status()
    assert http.get(f"/collections/{name}").json()["result"]["points_count"] == 3
    assert name in [item["name"] for item in http.get("/collections").json()["result"]["collections"]]
    assert http.delete(f"/collections/{name}").json()["result"] is True


def test_open_webui_collection_upload_search_query_get_delete(client, name):
    assert not client.collection_exists(name)
    params = models.VectorParams(size=3, distance=models.Distance.COSINE, on_disk=False)
    client.create_collection(name, vectors_config=params, hnsw_config=models.HnswConfigDiff(m=16))
    for field in ("metadata.hash", "metadata.file_id"):
        index = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=False, on_disk=False)
        client.create_payload_index(name, field_name=field, field_schema=index)
    points = [
        models.PointStruct(
            id=str(uuid.uuid4()),
            vector=[1.0, n / 10, 0.0],
            payload={"text": f"t{n}", "metadata": {"hash": f"h{n}", "file_id": f"f{n % 2}"}},
        )
        for n in range(6)
    ]
    client.upload_points(name, points)
    client.upsert(name, points[:1])
    found = client.query_points(name, query=[1.0, 0.0, 0.0], limit=3).points
    assert [hit.payload["text"] for hit in found] == ["t0", "t1", "t2"]
    of_hash = models.FieldCondition(key="metadata.hash", match=models.MatchValue(value="h4"))
    records, offset = client.scroll(name, scroll_filter=models.Filter(should=[of_hash]), limit=WITHOUT_BOUND)
    assert ([record.payload["text"] for record in records], offset) == (["t4"], None)
    assert len(client.scroll(name, limit=WITHOUT_BOUND)[0]) == 6
    of_file = models.FieldCondition(key="metadata.file_id", match=models.MatchValue(value="f1"))
    client.delete(name, points_selector=models.FilterSelector(filter=models.Filter(must=[of_file])))
    assert client.get_collection(name).points_count == 3
    assert name in [item.name for item in client.get_collections().collections]


def test_dify_group_indexes_upsert_vector_and_full_text_search_delete(client, name):
    assert name not in [item.name for item in client.get_collections().collections]
    hnsw = models.HnswConfigDiff(
        m=0, payload_m=16, ef_construct=100, full_scan_threshold=10000, max_indexing_threads=0, on_disk=False
    )
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    client.create_collection(name, vectors_config=params, hnsw_config=hnsw, timeout=20)
    for field in ("group_id", "metadata.doc_id"):
        client.create_payload_index(name, field, field_schema=models.PayloadSchemaType.KEYWORD)
    text = models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=models.TokenizerType.MULTILINGUAL,
        min_token_len=2,
        max_token_len=20,
        lowercase=True,
    )
    client.create_payload_index(name, "page_content", field_schema=text)
    ids = [uuid.uuid4().hex for _ in range(4)]
    contents = ["how to parse JSON", "a cat", "Parse a file", "dogs"]
    points = [
        models.PointStruct(
            id=i,
            vector=[1.0, n / 10, 0.0],
            payload={"page_content": c, "metadata": {"doc_id": f"d{n}"}, "group_id": "g"},
        )
        for n, (i, c) in enumerate(zip(ids, contents, strict=True))
    ]
    client.upsert(name, points)
    assert len(client.retrieve(name, ids=[ids[0]])) == 1  # "text_exists"
    group = models.FieldCondition(key="group_id", match=models.MatchValue(value="g"))
    found = client.query_points(
        name,
        query=[1.0, 0.0, 0.0],
        query_filter=models.Filter(must=[group]),
        limit=2,
        with_payload=True,
        with_vectors=True,
        score_threshold=0.0,
    ).points
    assert [hit.payload["page_content"] for hit in found] == contents[:2]
    words = models.FieldCondition(key="page_content", match=models.MatchText(text="parse"))
    records, _ = client.scroll(
        name, scroll_filter=models.Filter(must=[group, words]), limit=4, with_payload=True, with_vectors=True
    )
    assert sorted(record.payload["page_content"] for record in records) == ["Parse a file", "how to parse JSON"]
    of_document = models.FieldCondition(key="metadata.doc_id", match=models.MatchValue(value="d1"))
    client.delete(name, points_selector=models.FilterSelector(filter=models.Filter(must=[of_document])))
    assert client.count(name).count == 3
    client.delete(name, points_selector=models.FilterSelector(filter=models.Filter(must=[group])))
    assert client.count(name).count == 0
