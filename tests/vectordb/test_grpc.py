"""gRPC answers what REST answers, field by field; its key, limits, errors and port."""

import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client import grpc as pb
from qdrant_client.http.exceptions import UnexpectedResponse

from support.processes import free_port
from vectordb.conftest import Embedded, over_grpc
from vectordb.congruence import INDEXES, Pair, check_queries, check_reads, check_updates, plain, same
from vectordb.test_command import refused

KINDS = {"QDRANT_GRPC_PORT": "0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Embedded(tmp_path_factory.mktemp("grpc") / "s", env=KINDS) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    with Embedded(tmp_path_factory.mktemp("rest") / "s") as other:
        yield other


@pytest.fixture(scope="module")
def client(server):
    client = over_grpc(server)
    yield client
    client.close()


@pytest.fixture
def rest(server):
    return QdrantClient(url=server.url)


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


@pytest.fixture
def pair(client, other, request):
    pair = Pair(client, QdrantClient(url=other.url), f"c-{uuid.uuid4().hex[:8]}", request.param)
    pair.make()
    return pair


@pytest.mark.parametrize("pair", [11, 12], indirect=True)
def test_queries_and_reads_over_grpc_answer_as_over_rest(pair):
    check_queries(pair)
    check_reads(pair)


@pytest.mark.parametrize("pair", [13, 14], indirect=True)
def test_updates_over_grpc_do_what_they_do_over_rest(pair):
    check_updates(pair)


def test_a_collection_shows_over_grpc_what_it_shows_over_rest(client, rest):
    name = "shown"
    client.create_collection(
        name,
        vectors_config={
            "a": models.VectorParams(
                size=4,
                distance=models.Distance.MANHATTAN,
                on_disk=True,
                datatype=models.Datatype.FLOAT16,
                hnsw_config=models.HnswConfigDiff(m=8),
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            ),
            "b": models.VectorParams(size=2, distance=models.Distance.COSINE),
        },
        sparse_vectors_config={
            "s": models.SparseVectorParams(
                modifier=models.Modifier.IDF, index=models.SparseIndexParams(on_disk=True, full_scan_threshold=9)
            ),
            "t": models.SparseVectorParams(),
        },
        hnsw_config=models.HnswConfigDiff(m=24, ef_construct=77),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=55, max_optimization_threads=3),
        wal_config=models.WalConfigDiff(wal_capacity_mb=4),
        on_disk_payload=False,
        sharding_method=models.ShardingMethod.AUTO,
        metadata={"who": "me", "n": [1, None, {"x": 0.5}]},
    )
    for field, schema in INDEXES.items():
        client.create_payload_index(name, field, schema, wait=True)
    stemmed = models.TextIndexParams(
        type="text",
        tokenizer="word",
        stemmer=models.SnowballParams(type="snowball", language="english"),
        stopwords=models.StopwordsSet(languages=["english"], custom=["foo"]),
        min_token_len=2,
        scoring=models.TextScoringParams(type="bm25"),
    )
    client.create_payload_index(name, "stemmed", stemmed, wait=True)
    client.create_payload_index(name, "start", models.KeywordIndexParams(type="keyword", prefix=True), wait=True)
    client.delete_payload_index(name, "uid", wait=True)
    change = models.OptimizersConfigDiff(indexing_threshold=66)
    vectors = {"b": models.VectorParamsDiff(on_disk=True)}
    client.update_collection(name, optimizers_config=change, vectors_config=vectors, metadata={"who": "you"})
    client.upsert(name, [models.PointStruct(id=1, vector={"b": [1, 2]}, payload={"n": 3, "stemmed": "running"})])
    ours, theirs = plain(client.get_collection(name)), plain(rest.get_collection(name))
    for shown in (ours, theirs):  # two spellings of one thing in the client's own models
        shown["payload_schema"]["stemmed"]["params"].pop("scoring")
    assert same(ours, theirs), (ours, theirs)
    assert ours["config"]["optimizer_config"]["indexing_threshold"] == 66
    assert client.collection_exists(name)
    assert client.get_collections() == rest.get_collections()
    text = models.TextQuery(text="runs")
    found, again = (plain(c.query_points(name, query=text, using="stemmed").points) for c in (client, rest))
    assert [hit["id"] for hit in found] == [1]
    assert same(found, again)
    assert client.delete_collection(name)
    assert not client.collection_exists(name)


@pytest.fixture
def filled(client):
    name = f"f-{uuid.uuid4().hex[:8]}"
    client.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE))
    points = [models.PointStruct(id=i, vector=[1, i / 10], payload={"n": i, "doc": i % 2}) for i in range(8)]
    client.upsert(name, points, wait=True)
    yield name
    client.delete_collection(name)


def test_aliases_and_snapshots_are_those_of_rest(client, rest, filled):
    create = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=filled, alias_name="al"))
    assert client.update_collection_aliases([create])
    assert client.get_collection_aliases(filled) == rest.get_collection_aliases(filled)
    assert client.get_aliases() == rest.get_aliases()
    assert client.count("al").count == 8
    made = client.create_snapshot(filled)
    shown, again = client.list_snapshots(filled)[0], rest.list_snapshots(filled)[0]
    assert (shown.name, shown.size, shown.checksum) == (again.name, again.size, again.checksum)
    assert made.name == shown.name
    assert client.delete_snapshot(filled, made.name)
    assert rest.list_snapshots(filled) == []


def hits(result):
    return [(hit.id.num, round(hit.score, 4)) for hit in result]


def test_the_older_searches_of_other_clients_answer_as_over_rest(channel, server, filled):
    points, path = pb.PointsStub(channel), f"{server.url}/collections/{filled}/points"

    def theirs(call, body):
        result = httpx.post(f"{path}/{call}", json=body).json()["result"]
        return [(hit["id"], round(hit["score"], 4)) for hit in result]

    search = pb.SearchPoints(collection_name=filled, vector=[1, 0.2], limit=3, score_threshold=0.5, offset=1)
    expected = theirs("search", {"vector": [1, 0.2], "limit": 3, "score_threshold": 0.5, "offset": 1})
    assert hits(points.Search(search).result) == expected
    batch = points.SearchBatch(pb.SearchBatchPoints(collection_name=filled, search_points=[search, search])).result
    assert [hits(answer.result) for answer in batch] == [expected] * 2
    ids = {"positive": [pb.PointId(num=1)], "negative": [pb.PointId(num=7)]}
    recommend = pb.RecommendPoints(
        collection_name=filled, limit=3, strategy=pb.BestScore, positive_vectors=[pb.Vector(data=[1, 0.5])], **ids
    )
    body = {"positive": [1, [1, 0.5]], "negative": [7], "limit": 3, "strategy": "best_score"}
    assert hits(points.Recommend(recommend).result) == theirs("recommend", body)
    target = pb.TargetVector(single=pb.VectorExample(vector=pb.Vector(dense=pb.DenseVector(data=[1, 0]))))
    pairs = [
        pb.ContextExamplePair(
            positive=pb.VectorExample(id=pb.PointId(num=1)), negative=pb.VectorExample(id=pb.PointId(num=6))
        )
    ]
    discover = pb.DiscoverPoints(collection_name=filled, target=target, context=pairs, limit=4)
    body = {"target": [1, 0], "context": [{"positive": 1, "negative": 6}], "limit": 4}
    assert hits(points.Discover(discover).result) == theirs("discover", body)
    groups = pb.SearchPointGroups(collection_name=filled, vector=[1, 0], limit=2, group_by="doc", group_size=2)
    found = [(group.id.unsigned_value, hits(group.hits)) for group in points.SearchGroups(groups).result.groups]
    body = {"vector": [1, 0], "limit": 2, "group_by": "doc", "group_size": 2}
    reply = httpx.post(f"{path}/search/groups", json=body).json()["result"]["groups"]
    assert found == [(g["id"], [(h["id"], round(h["score"], 4)) for h in g["hits"]]) for g in reply]


def test_the_older_and_the_newer_form_of_a_vector_are_read_and_written(channel, client):
    name = f"v-{uuid.uuid4().hex[:8]}"
    rows = models.MultiVectorConfig(comparator="max_sim")
    vectors = {
        "d": models.VectorParams(size=2, distance="Dot"),
        "m": models.VectorParams(size=2, distance="Dot", multivector_config=rows),
    }
    client.create_collection(name, vectors_config=vectors, sparse_vectors_config={"s": models.SparseVectorParams()})
    old = {
        "d": pb.Vector(data=[1, 2]),
        "m": pb.Vector(data=[1, 2, 3, 4], vectors_count=2),
        "s": pb.Vector(data=[0.5], indices=pb.SparseIndices(data=[7])),
    }
    points = pb.PointsStub(channel)
    vectors = pb.Vectors(vectors=pb.NamedVectors(vectors=old))
    point = pb.PointStruct(id=pb.PointId(num=1), vectors=vectors)
    points.Upsert(pb.UpsertPoints(collection_name=name, points=[point], wait=True))
    wanted = pb.WithVectorsSelector(enable=True)
    shown = points.Get(pb.GetPoints(collection_name=name, ids=[pb.PointId(num=1)], with_vectors=wanted)).result[0]
    found = shown.vectors.vectors.vectors
    assert list(found["d"].data) == list(found["d"].dense.data) == [1, 2]
    assert (list(found["m"].data), found["m"].vectors_count) == ([1, 2, 3, 4], 2)
    assert [list(row.data) for row in found["m"].multi_dense.vectors] == [[1, 2], [3, 4]]
    assert (list(found["s"].indices.data), list(found["s"].sparse.values)) == ([7], [0.5])


def refusal(call, *arguments):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments)
    return error.value.code(), error.value.details()


NAN = float("nan")
NOT_A_NUMBER = pb.Query(nearest=pb.VectorInput(dense=pb.DenseVector(data=[NAN, 1])))


def X(kind, **fields):
    """A request for the collection that the test makes."""
    return kind(collection_name="X", **fields)


@pytest.mark.parametrize(
    ("method", "message", "code", "words"),
    [
        ("Count", pb.CountPoints(collection_name="absent"), "NOT_FOUND", "`absent` doesn't exist"),
        ("Search", X(pb.SearchPoints, vector=[1, 2, 3], limit=1), "INVALID_ARGUMENT", "expected dim: 2"),
        ("Search", X(pb.SearchPoints, vector=[1, 2]), "INVALID_ARGUMENT", "limit"),
        ("Search", X(pb.SearchPoints, vector=[1, NAN], limit=1), "INVALID_ARGUMENT", "not finite"),
        ("Query", X(pb.QueryPoints, query=NOT_A_NUMBER), "INVALID_ARGUMENT", "not finite"),
        ("Query", X(pb.QueryPoints, query=pb.Query()), "INVALID_ARGUMENT", "a Query is empty"),
        ("Scroll", X(pb.ScrollPoints, filter=pb.Filter(must=[pb.Condition()])), "INVALID_ARGUMENT", "is empty"),
        ("Get", X(pb.GetPoints, ids=[pb.PointId()]), "INVALID_ARGUMENT", "a PointId is empty"),
        ("Get", X(pb.GetPoints, ids=[pb.PointId(uuid="no")]), "INVALID_ARGUMENT", "not a valid point ID"),
        ("Delete", X(pb.DeletePoints), "INVALID_ARGUMENT", "give either `points` or `filter`"),
        (
            "Upsert",
            pb.UpsertPoints(
                collection_name="X", shard_key_selector=pb.ShardKeySelector(shard_keys=[pb.ShardKey(keyword="k")])
            ),
            "UNIMPLEMENTED",
            "custom sharding",
        ),
        ("SearchMatrixPairs", pb.SearchMatrixPoints(collection_name="X"), "UNIMPLEMENTED", "SearchMatrixPairs"),
    ],
)  # fmt: skip
def test_what_is_refused_has_rests_words_and_the_code_for_it(channel, filled, method, message, code, words):
    if message.collection_name == "X":
        message = type(message).FromString(message.SerializeToString())
        message.collection_name = filled
    found, details = refusal(getattr(pb.PointsStub(channel), method), message)
    assert found.name == code
    assert words in details
    assert "JSON" not in details


def test_a_refusal_is_one_line_of_the_log_with_its_reason(channel, server):
    refusal(pb.PointsStub(channel).Count, pb.CountPoints(collection_name="nowhere\nforged"))
    lines = [line for line in server.log.read_text().splitlines() if "nowhere" in line]
    assert len(lines) == 1
    assert "gRPC qdrant.Points/Count: 404 Not found: Collection `nowhere" in lines[0]


def test_existing_collections_and_quantization_have_their_codes(channel, filled):
    collections = pb.CollectionsStub(channel)
    vectors = pb.VectorsConfig(params=pb.VectorParams(size=2, distance=pb.Dot))
    code, _ = refusal(collections.Create, pb.CreateCollection(collection_name=filled, vectors_config=vectors))
    assert code == grpc.StatusCode.ALREADY_EXISTS
    for name, quantized in {
        "scalar": pb.QuantizationConfig(scalar=pb.ScalarQuantization(type=pb.Int8, always_ram=True)),
        "product": pb.QuantizationConfig(product=pb.ProductQuantization(compression=pb.x16, always_ram=True)),
        "turbo": pb.QuantizationConfig(turboquant=pb.TurboQuantization(bits=pb.Bits1_5, always_ram=True)),
    }.items():
        request = pb.CreateCollection(collection_name=name, vectors_config=vectors, quantization_config=quantized)
        collections.Create(request)
        shown = collections.Get(pb.GetCollectionInfoRequest(collection_name=name)).result.config.quantization_config
        assert shown == quantized
    code, details = refusal(collections.ListShardKeys, pb.ListShardKeysRequest(collection_name=filled))
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert "ListShardKeys" in details


def test_with_a_key_everything_but_health_needs_it(tmp_path):
    with Embedded(tmp_path / "s", env={**KINDS, "QDRANT_API_KEY": "s3cret"}) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert pb.QdrantStub(channel).HealthCheck(pb.HealthCheckRequest()).version
            check = channel.unary_unary("/grpc.health.v1.Health/Check")
            assert check(b"") == b"\x08\x01"
            collections = pb.CollectionsStub(channel)
            for metadata in ((), (("api-key", "other"),), (("authorization", "Bearer other"),)):
                with pytest.raises(grpc.RpcError) as error:
                    collections.List(pb.ListCollectionsRequest(), metadata=metadata)
                assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            for metadata in ((("api-key", "s3cret"),), (("authorization", "Bearer s3cret"),)):
                assert list(collections.List(pb.ListCollectionsRequest(), metadata=metadata).collections) == []
        assert "s3cret" not in server.log.read_text()


def test_a_client_that_connects_and_says_nothing_does_not_block_the_others(server, client, filled):
    with socket.create_connection(("127.0.0.1", server.grpc_port)) as idle:
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.count(filled).count == 8


def test_bytes_that_are_no_message_are_refused(channel, server):
    upsert = channel.unary_unary("/qdrant.Points/Upsert")
    with pytest.raises(grpc.RpcError) as error:
        upsert(b"\xff\xff\xff")
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_a_message_over_the_bound_is_refused_and_the_server_goes_on(channel, filled):
    points = pb.PointsStub(channel)
    point = pb.PointStruct(id=pb.PointId(num=1), payload={"t": pb.Value(string_value="x" * (33 << 20))})
    code, _ = refusal(points.Upsert, pb.UpsertPoints(collection_name=filled, points=[point]))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert points.Count(pb.CountPoints(collection_name=filled)).result.count == 8


def test_a_crowd_on_one_connection_waits_and_is_served(client, filled):
    def work(i):
        client.upsert(filled, [models.PointStruct(id=1000 + i, vector=[1, i], payload={"i": i})], wait=True)
        return len(client.query_points(filled, query=[1, i], limit=3).points)

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(work, range(200))) == [3] * 200
    assert client.count(filled).count == 208


def test_health_answers_while_a_large_upsert_is_worked_on(client, rest, channel):
    client.create_collection("large", vectors_config=models.VectorParams(size=500, distance="Dot"))
    points = [models.PointStruct(id=i, vector=[i + 0.5] * 500) for i in range(3000)]
    health, slowest = pb.QdrantStub(channel), 0.0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.upsert, "large", points, wait=True)
        while not running.done():
            started = time.monotonic()
            health.HealthCheck(pb.HealthCheckRequest(), timeout=10)
            slowest = max(slowest, time.monotonic() - started)
        running.result()
    assert rest.count("large").count == 3000
    client.delete_collection("large")


def take_above_a_free_one(taken: socket.socket) -> int:
    """The port that `taken` listens on; nothing listens on the one below it."""
    while True:
        below = free_port()
        try:
            taken.bind(("127.0.0.1", below + 1))
        except OSError:
            continue
        taken.listen()
        return below + 1


def test_a_port_that_was_asked_for_and_is_taken_is_refused_and_the_usual_one_only_said(tmp_path):
    with socket.socket() as taken:
        port = take_above_a_free_one(taken)
        code, message = refused("--port", "0", "--storage", str(tmp_path / "a"), "--grpc-port", str(port))
        assert code == 2
        assert f"cannot listen on 127.0.0.1:{port} for gRPC" in message
        with Embedded(tmp_path / "b", "--port", str(port - 1)) as server:
            while "gRPC is NOT served" not in server.log.read_text():
                time.sleep(0.02)
            assert httpx.get(f"{server.url}/readyz").status_code == 200
            assert server.stop() == 0
    assert refused("--port", "0", "--storage", str(tmp_path / "a"), "--grpc-port", "many")[0] == 2


def test_off_leaves_grpc_out_with_its_libraries(tmp_path):
    with Embedded(tmp_path / "s", env={"QDRANT_GRPC_PORT": "off"}) as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        if sys.platform == "linux":
            assert "cygrpc" not in Path(f"/proc/{server.process.pid}/maps").read_text()
        assert server.stop() == 0
        assert "gRPC" not in server.log.read_text()


def test_the_messages_are_loaded_without_the_client():
    code = (
        "import sys; from embedserve.vectordb.grpc_api.stubs import pb, services; pb.PointStruct; services()\n"
        "assert 'qdrant_client' not in sys.modules and 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_filled_server_stops_while_calls_go_on(tmp_path):
    with Embedded(tmp_path / "s", env=KINDS) as server:
        client = over_grpc(server)
        client.create_collection("a", vectors_config=models.VectorParams(size=2, distance="Dot"))
        acknowledged = 0

        def write():
            nonlocal acknowledged
            while True:
                client.upsert("a", [models.PointStruct(id=acknowledged, vector=[1, 2])], wait=True)
                acknowledged += 1

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(write)
            time.sleep(0.5)
            assert server.stop() == 0
            with pytest.raises((grpc.RpcError, UnexpectedResponse)):
                running.result(30)
    with Embedded(tmp_path / "s") as server:
        count = QdrantClient(url=server.url).count("a").count
        assert acknowledged <= count <= acknowledged + 1
