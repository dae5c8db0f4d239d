"""Vectors that are added to a collection later, and removed from one: REST, gRPC, qdrant-client's local mode."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from qdrant_client import QdrantClient, models

from embedserve.vectordb import collection as collection_module
from embedserve.vectordb.call import Call
from embedserve.vectordb.collection import Collection
from embedserve.vectordb.collection_handlers import create_vector, delete_vector
from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.files import replace_json
from embedserve.vectordb.named_vectors import with_vector, without_vector
from embedserve.vectordb.schema import parse_collection
from embedserve.vectordb.updates import Change, parse_upsert
from embedserve.vectordb.vectors import Space

from .conftest import Embedded, embedded_only, over_grpc
from .test_index_building import CONFIG, COUNT, indexed, opened, some
from .watched import watched_edge

NAME = "vectors"
DENSE = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=3, distance=models.Distance.COSINE))
SPARSE = models.SparseVectorNameConfig(sparse=models.SparseVectorConfig(modifier=models.Modifier.IDF))
FIRST = {"vectors": {"size": 2, "distance": "Dot"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    with Embedded(tmp_path_factory.mktemp("named") / "storage", env={"QDRANT_GRPC_PORT": "0"}) as started:
        yield started


@pytest.fixture(params=["REST", "gRPC"])
def client(request: pytest.FixtureRequest, server: Embedded) -> QdrantClient:
    made = QdrantClient(url=server.url, timeout=60) if request.param == "REST" else over_grpc(server)
    made.delete_collection(NAME)
    return made


def fill(client: QdrantClient) -> None:
    client.create_collection(NAME, models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(NAME, [models.PointStruct(id=i, vector=[1.0, i], payload={"n": i}) for i in range(4)])


def widen(client: QdrantClient) -> None:
    """A dense and a sparse vector are added, and some points get them."""
    client.create_vector_name(NAME, "title", DENSE)
    client.create_vector_name(NAME, "words", SPARSE)
    sparse = models.SparseVector(indices=[1, 7], values=[0.5, 2.0])
    client.update_vectors(NAME, [models.PointVectors(id=2, vector={"title": [0.0, 3.0, 4.0], "words": sparse})])
    client.upsert(NAME, [models.PointStruct(id=9, vector={"": [5.0, 5.0], "title": [1.0, 0.0, 0.0]})])


def seen(client: QdrantClient) -> Any:
    """Every point, and what each vector finds."""
    params = client.get_collection(NAME).config.params
    points = {
        record.id: {name: vector_of(item) for name, item in named(record.vector).items()}
        for record in client.scroll(NAME, limit=100, with_vectors=True)[0]
    }
    found = {}
    queries = {"": [1.0, 1.0], "title": [0.0, 1.0, 1.0], "words": models.SparseVector(indices=[7], values=[1.0])}
    for using, query in queries.items():
        if using in {*named(params.vectors), *(params.sparse_vectors or {})}:
            hits = client.query_points(NAME, query, using=using or None, limit=10).points
            found[using] = [(hit.id, round(hit.score, 5)) for hit in hits]
        else:
            with pytest.raises(Exception, match=r"Not existing vector name|not found"):
                client.query_points(NAME, query, using=using, limit=10)
    return sorted(named(params.vectors)), sorted(params.sparse_vectors or {}), points, found


def named(vectors: Any) -> dict[str, Any]:
    return vectors if isinstance(vectors, dict) else {"": vectors}


def vector_of(item: Any) -> Any:
    return (item.indices, item.values) if isinstance(item, models.SparseVector) else [round(x, 5) for x in item]


def test_added_and_removed_vectors_are_what_qdrant_clients_local_mode_makes_of_them(client: QdrantClient) -> None:
    local = QdrantClient(":memory:")
    for each in (client, local):
        fill(each)
    for step in (
        widen,
        widen,
        lambda c: c.delete_vector_name(NAME, "title"),
        lambda c: c.delete_vector_name(NAME, "x"),
    ):
        for each in (client, local):
            step(each)
        assert seen(client) == seen(local)
    assert seen(client)[:2] == ([""], ["words"])


@embedded_only
def test_what_was_added_survives_a_killed_process(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    with Embedded(storage) as first:
        client = QdrantClient(url=first.url, timeout=60)
        fill(client)
        widen(client)
        before = seen(client)
        first.kill()
    with Embedded(storage) as second:
        client = QdrantClient(url=second.url, timeout=60)
        assert seen(client) == before
        client.delete_vector_name(NAME, "title")
        after = seen(client)
        second.kill()
    with Embedded(storage) as third:
        assert seen(QdrantClient(url=third.url, timeout=60)) == after


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("", {"dense": {"size": 3, "distance": "Dot"}}, "name"),
        ("x", {}, "`dense` or `sparse`"),
        ("x", {"dense": {"size": 3, "distance": "Dot"}, "sparse": {}}, "`dense` or `sparse`"),
        ("x", {"dense": {"size": 3}}, "distance"),
        ("x", {"dense": {"size": 0, "distance": "Dot"}}, "size"),
        ("x", {"dense": {"size": 3, "distance": "Dot", "on_disk": True}}, "on_disk"),
        ("x", {"sparse": {"modifier": "tf"}}, "modifier"),
        ("x", {"sparse": {"index": {}}}, "index"),
        ("there", {"dense": {"size": 4, "distance": "Dot"}}, "different parameters"),
        ("there", {"sparse": {}}, "different parameters"),
    ],
)
def test_what_is_no_new_vector_is_refused_with_a_reason(name: str, body: dict[str, Any], message: str) -> None:
    config = parse_collection({"vectors": {"there": {"size": 3, "distance": "Dot"}}})
    with pytest.raises(ApiError, match=message):
        with_vector(config, name, body)


def test_the_last_unnamed_vector_stays() -> None:
    with pytest.raises(ApiError, match="unnamed"):
        without_vector(parse_collection(FIRST), "")


def test_a_vector_may_be_named_like_a_setting(client: QdrantClient) -> None:
    size = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection(NAME, {"size": size, "distance": size})
    client.upsert(NAME, [models.PointStruct(id=1, vector={"size": [1.0, 2.0], "distance": [3.0, 4.0]})])
    assert client.get_collection(NAME).config.params.vectors == {"size": size, "distance": size}
    assert client.retrieve(NAME, [1], with_vectors=True)[0].vector == {"size": [1.0, 2.0], "distance": [3.0, 4.0]}


class Cut(Exception):
    pass


class CutShort:
    """Lets the first `steps` of what a change does happen."""

    def __init__(self) -> None:
        self.steps = 1000

    def step(self) -> None:
        if not self.steps:
            raise Cut
        self.steps -= 1

    def called(self, name: str) -> None:
        if name in ("update", "flush"):
            self.step()

    def write(self, path: Path, value: Any) -> None:
        self.step()
        replace_json(path, value)


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("change", ["add", "remove"])
def test_a_change_that_is_cut_short_at_any_step_is_whole_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, steps: int
) -> None:
    """The steps: settings written, shard changed, shard flushed, settings written. After it the change is done or, when
    nothing had been written, not begun; the points are there."""
    folder = tmp_path / "collection"
    config = parse_collection({"vectors": {"a": {"size": 2, "distance": "Dot"}}, "sparse_vectors": {"s": {}}})
    cut = CutShort()
    added = {"dense": {"size": 3, "distance": "Dot"}}
    wanted = partial(with_vector, name="b", body=added) if change == "add" else partial(without_vector, name="s")

    def point(number: int, space: Space) -> Change:
        vectors = {name: [1.0] * size for name, size in space.sizes.items()}
        return parse_upsert({"points": [{"id": number, "vector": vectors}]}, space)

    async def until_the_cut() -> None:
        made = Collection.create(folder, NAME, config, 0)
        await made.apply([point(1, made.space)])
        cut.steps = steps
        if steps >= 4:
            await made.change_vectors(wanted)
        else:
            with pytest.raises(Cut):
                await made.change_vectors(wanted)
        cut.steps = 1000
        await made.close()  # flushes nothing of the shard

    async def after_the_restart() -> None:
        again = Collection.open(folder, orjson.loads((folder / "meta.json").read_bytes()), 0)
        assert again.config == (wanted(config) if steps else config)
        assert "next" not in orjson.loads((folder / "meta.json").read_bytes())
        await again.apply([point(2, again.space)])
        assert await again.read(lambda shard: shard.info().points_count) == 2
        await again.close()

    with monkeypatch.context() as patched:
        patched.setattr(collection_module, "replace_json", cut.write)
        patched.setattr(collection_module, "edge", watched_edge(cut.called))
        asyncio.run(until_the_cut())
    asyncio.run(after_the_restart())


def test_a_change_that_the_engine_refuses_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would be tried again by every later change, and by the next start."""
    refuses = False
    folder = tmp_path / "collection"
    new = partial(with_vector, body={"dense": {"size": 3, "distance": "Dot"}})

    def called(name: str) -> None:
        if refuses and name == "update":
            raise Exception("Validation failed: no such vector here")  # as Edge's own

    async def scenario() -> None:
        nonlocal refuses
        made = Collection.create(folder, NAME, parse_collection(FIRST), 0)
        refuses = True
        with pytest.raises(Exception, match="no such vector here"):
            await made.change_vectors(partial(new, name="b"))
        refuses = False
        assert "next" not in orjson.loads((folder / "meta.json").read_bytes())
        await made.change_vectors(partial(new, name="c"))
        assert made.space.names == {"", "c"}
        await made.close()

    monkeypatch.setattr(collection_module, "edge", watched_edge(called))
    asyncio.run(scenario())


def test_a_change_ends_an_index_build_and_the_next_build_has_the_new_vector(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path / "storage", quiet=0.0) as storage:
            await storage.create(NAME, CONFIG)
            collection = storage.get(NAME)
            await collection.apply([some(range(COUNT))])
            while not collection.building:
                await asyncio.sleep(0.01)
            call = Call({"name": NAME, "vector": "b"})
            with pytest.raises(ApiError):
                await create_vector(storage, call, {})
            await delete_vector(storage, call, None)
            assert collection.building  # what is refused, or changes nothing, ends no build
            await create_vector(storage, call, {"dense": {"size": 3, "distance": "Dot"}})
            assert not collection.building
            assert await indexed(collection) == 0
            assert len([each for each in collection.folder.iterdir() if each.is_dir()]) == 1
            while await indexed(collection) < COUNT:
                await asyncio.sleep(0.05)
            assert "b" in collection.space.names
            assert collection.build_error is None
            assert await collection.read(lambda shard: shard.info().points_count) == COUNT

    asyncio.run(scenario())


def test_settings_changed_beside_it_do_not_undo_it(tmp_path: Path) -> None:
    """Both are worked out from the settings under the lock. The later one once forgot what the earlier had added."""

    async def scenario() -> None:
        async with opened(tmp_path / "storage") as storage:
            await storage.create(NAME, CONFIG)
            collection = storage.get(NAME)
            new = partial(with_vector, name="b", body={"dense": {"size": 3, "distance": "Dot"}})
            await asyncio.gather(
                collection.change_vectors(new),
                collection.reconfigure(lambda config: config | {"metadata": {"a": 1}}),
            )
            assert "b" in collection.space.names
            assert collection.config["metadata"] == {"a": 1}
            assert collection.config["params"]["vectors"].keys() == {"", "b"}

    asyncio.run(scenario())
