"""The real Python client, over REST, against the embedded Qdrant (or the one at QDRANT_URL)."""

import os
import uuid
import warnings

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse


@pytest.fixture
def client(url):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of versions that do not fit
        client = QdrantClient(url=url, prefer_grpc=False, timeout=60, api_key=os.environ.get("QDRANT_API_KEY"))
    yield client
    client.close()


def made(client, name, distance=models.Distance.COSINE):
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=3, distance=distance, on_disk=True),
        hnsw_config=models.HnswConfigDiff(m=64, ef_construct=512, on_disk=True),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=20000),
    )


def test_collections_come_and_go(client, name):
    assert not client.collection_exists(name)
    made(client, name)
    assert client.collection_exists(name)
    assert name in [item.name for item in client.get_collections().collections]
    info = client.get_collection(name)
    assert info.status == models.CollectionStatus.GREEN
    assert info.config.params.vectors.size == 3
    assert info.config.hnsw_config.m == 64
    assert info.config.optimizer_config.indexing_threshold == 20000
    assert client.delete_collection(name)
    with pytest.raises(UnexpectedResponse) as error:
        client.get_collection(name)
    assert error.value.status_code == 404


def test_points_are_upserted_found_filtered_counted_scrolled_and_deleted(client, name):
    made(client, name)
    client.create_payload_index(name, "lang", models.PayloadSchemaType.KEYWORD, wait=True)
    client.create_payload_index(name, "line", models.IntegerIndexParams(type="integer", lookup=True, range=True))
    ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, str(i))) for i in range(40)]
    points = [
        models.PointStruct(id=ids[i], vector=[1, i / 10, 0], payload={"lang": "py" if i % 2 else "js", "line": i})
        for i in range(40)
    ]
    assert client.upsert(name, points, wait=True).status == models.UpdateStatus.COMPLETED

    py = models.Filter(must=[models.FieldCondition(key="lang", match=models.MatchValue(value="py"))])
    found = client.query_points(name, query=[1, 0, 0], query_filter=py, limit=3, with_payload=["line"]).points
    assert [point.payload for point in found] == [{"line": 1}, {"line": 3}, {"line": 5}]
    assert client.query_points(name, query=ids[0], limit=1).points[0].id == ids[1]
    requests = [models.QueryRequest(query=[1, x, 0], limit=1, with_payload=True) for x in (0, 2)]
    batch = client.query_batch_points(name, requests)
    assert [answer.points[0].payload["line"] for answer in batch] == [0, 20]

    assert client.count(name, py).count == 20
    late = models.Filter(must=[models.FieldCondition(key="line", range=models.Range(gte=30))])
    page, offset = client.scroll(name, late, limit=6)
    rest, end = client.scroll(name, late, limit=6, offset=offset)
    assert sorted(record.payload["line"] for record in page + rest) == list(range(30, 40))
    assert end is None
    assert client.retrieve(name, [ids[7]], with_vectors=True)[0].vector == pytest.approx([0.8192, 0.5735, 0], abs=1e-4)

    client.delete(name, models.FilterSelector(filter=py), wait=True)
    client.delete(name, models.PointIdsList(points=[ids[0]]), wait=True)
    assert client.count(name).count == 19
    client.delete_payload_index(name, "lang")
    assert set(client.get_collection(name).payload_schema) == {"line"}


def test_its_own_upload_helpers_and_batches_work(client, name):
    made(client, name, models.Distance.DOT)
    vectors = [[i, 0, 1] for i in range(300)]
    client.upload_collection(name, vectors=vectors, ids=list(range(300)), batch_size=64, wait=True)
    client.upload_points(name, [models.PointStruct(id=i, vector=[i, 1, 1]) for i in range(300, 400)], wait=True)
    client.upsert(name, models.Batch(ids=[400], vectors=[[400, 0, 0]], payloads=[{"a": 1}]), wait=True)
    assert client.count(name).count == 401
    assert client.query_points(name, query=[1, 0, 0], limit=2).points[1].id == 399


def test_a_wrong_dimension_is_a_400_that_names_both(client, name):
    made(client, name)
    with pytest.raises(UnexpectedResponse, match="expected dim: 3, got 2") as error:
        client.upsert(name, [models.PointStruct(id=1, vector=[1, 2])], wait=True)
    assert error.value.status_code == 400
