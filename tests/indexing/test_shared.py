"""One collection of many repositories: each an index of its own, a text embedded once, one or all of them asked."""

from __future__ import annotations

import random
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from embedserve.errors import IndexingFailed
from embedserve.indexing.copying import copy_index
from embedserve.indexing.creating import Server, Wanted, body_of, create, notes, server, shard_keys
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.repository import check_owner, name_of_url, repository_name
from embedserve.indexing.search import Query, find
from embedserve.indexing.shared import SharedStore, check_name, split_path
from embedserve.indexing.sizing import Need, disk_bytes, ram_bytes, sizing
from embedserve.indexing.store import Store
from embedserve.indexing.stored import MARKER_ID, Recipe
from embedserve.indexing.sync import Indexer, Report
from support.embedding_standin import EmbeddingStandIn

FUNCTION = 'def {name}(value):\n    """Return what {name} makes of the value."""\n    return value * 3\n\n\n'
COMMON = "".join(FUNCTION.format(name=name) for name in ("apple", "banana"))


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two repositories with one equal file, and one of its own each."""
    made = []
    for name, own in (("one", "cherry"), ("two", "damson")):
        root = tmp_path / name
        (root / "src").mkdir(parents=True)
        (root / "src" / "fruit.py").write_text(COMMON)
        (root / f"{own}.py").write_text(FUNCTION.format(name=own))
        made.append(root)
    return made[0], made[1]


async def made(qdrant: Qdrant, **changes: Any) -> str:
    wanted = replace(Wanted(f"shared-{uuid.uuid4().hex[:8]}", "bag-of-words", 64), **changes)
    await create(qdrant, wanted, await server(qdrant))
    return wanted.name


async def index(store: Store, folder: Path, service: EmbeddingStandIn) -> Report:
    embedder, report = Embedder(service.url, patience=10), Report(str(folder), store.collection)
    try:
        await Indexer(store, embedder, Display(quiet=True)).sync(report)
    finally:
        await embedder.close()
    return report


async def asked(store: Store, service: EmbeddingStandIn, text: str, **more: Any) -> list[str]:
    embedder = Embedder(service.url, patience=10)
    try:
        return [hit.path for hit in (await find(store, embedder, Query(text, **more), None)).hits]
    finally:
        await embedder.close()


async def all_points(client: AsyncQdrantClient, name: str) -> dict[str, tuple[dict[str, Any], list[float]]]:
    found, _ = await client.scroll(name, limit=10_000, with_vectors=True)
    return {str(p.id): (p.payload or {}, [round(x, 5) for x in p.vector or []]) for p in found}  # type: ignore[union-attr]


async def test_two_repositories_with_equal_files_are_two_whole_indexes_and_the_text_is_embedded_once(
    qdrant: Qdrant, client: AsyncQdrantClient, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    name = await made(qdrant)
    one, two = (SharedStore(qdrant, name, (folder.name,), str(folder)) for folder in folders)
    first, second = await index(one, folders[0], service), await index(two, folders[1], service)
    assert (first.chunks, first.embedded, first.reused) == (3, 3, 0)
    assert (second.chunks, second.embedded, second.reused) == (3, 1, 2)
    points = await all_points(client, name)
    chunks = [payload for payload, _ in points.values() if payload["type"] == "chunk"]
    assert sorted(payload["repository"] for payload in chunks) == ["one"] * 3 + ["two"] * 3
    by_text: dict[str, set[tuple[float, ...]]] = {}
    for payload, vector in points.values():
        if payload["type"] == "chunk":
            by_text.setdefault(payload["digest"], set()).add(tuple(vector))
    assert len(by_text) == 4
    assert all(len(vectors) == 1 for vectors in by_text.values())  # a reused vector is the vector
    again = await index(one, folders[0], service)
    assert (again.complete, again.changed, again.stored) == (True, 0, 0)


async def test_a_search_asks_all_repositories_some_or_one(
    qdrant: Qdrant, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    name = await made(qdrant)
    for folder in folders:
        await index(SharedStore(qdrant, name, (folder.name,), str(folder)), folder, service)
    everywhere = await asked(SharedStore(qdrant, name), service, "what cherry makes of the value")
    assert everywhere[0] == "one//cherry.py"
    assert {split_path(path)[0] for path in everywhere} == {"one", "two"}
    assert set(await asked(SharedStore(qdrant, name, ("two",)), service, "cherry")) == {"damson.py", "src/fruit.py"}
    assert set(await asked(SharedStore(qdrant, name, ("one", "two")), service, "cherry", path_prefix="src")) <= {
        "one//src/fruit.py",
        "two//src/fruit.py",
    }
    with pytest.raises(IndexingFailed, match="has no repository three"):
        await asked(SharedStore(qdrant, name, ("three",)), service, "cherry")


async def test_a_name_is_found_where_it_is_defined_in_whichever_repository_however_many_use_it(
    qdrant: Qdrant, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    uses = "".join(f"def use{n}(cherry):\n    return cherry, cherry, cherry, {n}\n\n\n" for n in range(150))
    (folders[1] / "uses.py").write_text(uses)  # more than are looked at by meaning, and nearer
    name = await made(qdrant)
    for folder in folders:
        await index(SharedStore(qdrant, name, (folder.name,), str(folder)), folder, service)
    assert (await asked(SharedStore(qdrant, name), service, "cherry"))[0] == "one//cherry.py"
    assert (await asked(SharedStore(qdrant, name, ("one",)), service, "cherry"))[0] == "cherry.py"


async def test_what_one_repository_changes_leaves_the_other_alone(
    qdrant: Qdrant, client: AsyncQdrantClient, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    name = await made(qdrant)
    one, two = (SharedStore(qdrant, name, (folder.name,), str(folder)) for folder in folders)
    for store, folder in zip((one, two), folders, strict=True):
        await index(store, folder, service)
    before = {key: value for key, value in (await all_points(client, name)).items() if value[0]["repository"] == "two"}
    (folders[0] / "src" / "fruit.py").unlink()
    assert (await index(one, folders[0], service)).deleted == 2
    assert await one.indexed_workspaces() == {"one", "two"}
    assert await one.drop()
    assert not await one.drop()
    assert await all_points(client, name) == before


async def test_an_index_is_copied_into_a_collection_as_if_it_had_been_made_there(
    qdrant: Qdrant, client: AsyncQdrantClient, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    own = Store(qdrant, str(folders[0]))
    await index(own, folders[0], service)
    copied, direct = await made(qdrant), await made(qdrant)
    target = SharedStore(qdrant, copied, ("one",), str(folders[0]))
    assert await copy_index(own, target) == 3
    await index(SharedStore(qdrant, direct, ("one",), str(folders[0])), folders[0], service)
    theirs, ours = await all_points(client, direct), await all_points(client, copied)
    for found in (theirs, ours):
        for payload, _ in found.values():
            payload.pop("updated_at", None)
    assert ours == theirs
    texts = len(service.texts)
    assert (await index(target, folders[0], service)).stored == 0  # the folder goes on from there
    (folders[0] / "cherry.py").unlink()
    await index(own, folders[0], service)
    assert await copy_index(own, target) == 2
    assert len([p for p, _ in (await all_points(client, copied)).values() if p["type"] == "chunk"]) == 2
    assert len([text for text in service.texts[texts:] if "cherry" in text]) == 0


async def test_a_collection_that_does_not_fit_is_refused_and_left_alone(
    qdrant: Qdrant, client: AsyncQdrantClient, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    other = await made(qdrant, model="another-model")
    theirs = f"theirs-{uuid.uuid4().hex[:8]}"
    await qdrant.write("PUT", f"/collections/{theirs}", {"vectors": {"size": 64, "distance": "Cosine"}})
    for name, told in (
        (other, "another-model"),
        (theirs, "somebody else's"),
        ("nowhere", "collections create nowhere"),
    ):
        with pytest.raises(IndexingFailed, match=told):
            await index(SharedStore(qdrant, name, ("one",), str(folders[0])), folders[0], service)
    assert await all_points(client, other) == {}
    with pytest.raises(IndexingFailed, match="already"):
        await create(qdrant, Wanted(theirs, "bag-of-words", 64), Server())


async def test_a_folder_does_not_take_the_name_that_another_one_has(
    qdrant: Qdrant, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    name = await made(qdrant)
    mine = SharedStore(qdrant, name, ("same",), str(folders[0]))
    await index(mine, folders[0], service)
    await check_owner(mine)
    with pytest.raises(IndexingFailed, match="--repository NAME"):
        await check_owner(SharedStore(qdrant, name, ("same",), str(folders[1])))


@pytest.mark.parametrize("quantization", ["scalar", "binary", ""])
async def test_a_quantised_collection_is_searched_with_the_originals(
    quantization: str, qdrant: Qdrant, service: EmbeddingStandIn, folders: tuple[Path, Path]
) -> None:
    name = await made(qdrant, quantization=quantization)
    store = SharedStore(qdrant, name, ("one",), str(folders[0]))
    await index(store, folders[0], service)
    assert (await store.open()).quantization == quantization
    params = store._asked({"filter": {"must": []}, "params": {"hnsw_ef": 128}})["params"]
    assert ("quantization" in params) == bool(quantization)
    assert (await asked(store, service, "cherry"))[0] == "cherry.py"


def test_the_id_of_a_chunk_is_had_back_from_its_point_and_differs_between_repositories() -> None:
    draw = random.Random(7)
    stores = [SharedStore(None, "c", (name,)) for name in ("one", "two", "psf/requests")]  # type: ignore[arg-type]
    for _ in range(200):
        chunk = str(uuid.uuid5(uuid.NAMESPACE_URL, str(draw.random())))
        stored = [store._own(chunk) for store in stores]
        assert len({chunk, *stored}) == 4
        assert [store._own(point) for store, point in zip(stores, stored, strict=True)] == [chunk] * 3
        assert all(uuid.UUID(point).version == 5 for point in stored)


class Recorder:
    """A Qdrant of three nodes that writes down what it is asked."""

    url = "http://recorder"

    keeps_metadata = True

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.config: dict[str, Any] = {}

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        if path == "/cluster":
            return {"status": "enabled", "peers": {"1": {}, "2": {}, "3": {}}}
        if path.endswith("/exists"):
            return {"exists": False}
        if method == "PUT" and path.count("/") == 2:
            self.config = body
        if method == "GET":
            params = {"vectors": self.config["vectors"]}
            told = {"metadata": self.config["metadata"]} if self.keeps_metadata else {}
            return {"config": {**told, "params": params}, "payload_schema": {}}
        if path.endswith("/count"):
            return {"count": 0}
        if path.endswith("/batch"):
            return [{"points": []} for _ in body["searches"]]
        found = [{"id": MARKER_ID, "vector": [], "payload": {"complete": True}}] if path.endswith("/points") else []
        return {"points": []} if "query" in path or "scroll" in path else found

    write = call


async def test_in_a_cluster_a_repository_has_a_shard_key_that_every_request_for_it_names() -> None:
    recorder = Recorder()
    qdrant: Any = recorder
    told = await server(qdrant)
    assert told == Server(3)
    await create(qdrant, Wanted("team", "m", 64, "binary", shards=6, replicas=2), told)
    body = recorder.config
    assert (body["sharding_method"], body["replication_factor"], body["write_consistency_factor"]) == ("custom", 2, 2)
    keys = [body["shard_key"] for _, path, body in recorder.asked if path.endswith("/shards")]
    assert keys == [f"k{number}" for number in range(6)]
    tenant = next(body for _, path, body in recorder.asked if "index" in path and body["field_name"] == "repository")
    assert tenant["field_schema"]["is_tenant"]

    store = SharedStore(qdrant, "team", ("psf/requests",))
    layout = await store.open()
    key = layout.shard_key("psf/requests")
    recorder.asked.clear()
    await store.query([0.0] * 64, 5, None)
    await store.delete(["5b0c1f5e-2d1a-5f0e-9a55-8f4a6a1c7d21"])
    await store.delete_files(["a.py"])
    await store.put([{"id": "5b0c1f5e-2d1a-5f0e-9a55-8f4a6a1c7d21", "vector": [], "payload": {}}])
    await store.records()
    assert len(recorder.asked) == 5
    assert [body["shard_key"] for _, _, body in recorder.asked] == [key] * 5
    recorder.asked.clear()
    everywhere = SharedStore(qdrant, "team")
    await everywhere.open()
    await everywhere.query([0.0] * 64, 5, None)
    assert "shard_key" not in recorder.asked[-1][2]
    assert len({layout.shard_key(f"repository {number}") for number in range(100)}) == 6


async def test_every_body_for_a_cluster_is_one_that_qdrants_own_models_take() -> None:
    """They forbid unknown fields, so that a misspelt setting does not vanish on the server."""
    recorder = Recorder()
    qdrant: Any = recorder
    for quantization in ("scalar", "binary", ""):
        recorder.asked.clear()
        await create(qdrant, Wanted("team", "m", 64, quantization, shards=6, replicas=2), await server(qdrant))
        store = SharedStore(qdrant, "team", ("psf/requests",))
        await store.open()
        point = "5b0c1f5e-2d1a-5f0e-9a55-8f4a6a1c7d21"
        await store.query([0.0] * 64, 5, 0.3, "src", "python")
        await store.nearest([0.0] * 64, 5, None, known=[point])
        await store.delete([point])
        await store.delete_files(["a.py"])
        await store.put([{"id": point, "vector": [0.0] * 64, "payload": {}}])
        await store.mark(True, Recipe("m", 64))
        await store.records(["src"])
        await store.known(["0123"])
        await store.defining(["f"], 5, "src", "python")
        await store.vectors([point])
        await store.status()
        seen = set()
        for method, path, body in recorder.asked:
            rest = re.sub(r"^/collections/[^/?]+", "", path.partition("?")[0])
            if body is not None:
                seen.add((method, rest))
                BODIES[method, rest](**body)
        assert seen == BODIES.keys()


BODIES: dict[tuple[str, str], Any] = {
    ("PUT", ""): models.CreateCollection,
    ("PUT", "/shards"): models.CreateShardingKey,
    ("PUT", "/index"): models.CreateFieldIndex,
    ("PUT", "/points"): models.PointsList,
    ("POST", "/points"): models.PointRequest,
    ("POST", "/points/delete"): lambda **body: (models.FilterSelector if "filter" in body else models.PointIdsList)(
        **body
    ),
    ("POST", "/points/query"): models.QueryRequest,
    ("POST", "/points/query/batch"): models.QueryRequestBatch,
    ("POST", "/points/scroll"): models.ScrollRequest,
    ("POST", "/points/count"): models.CountRequest,
}


async def test_a_qdrant_that_keeps_no_metadata_is_told_so_and_left_without_the_collection() -> None:
    recorder = Recorder()
    recorder.keeps_metadata = False
    qdrant: Any = recorder
    with pytest.raises(IndexingFailed, match="keeps no metadata"):
        await create(qdrant, Wanted("team", "m", 64), Server())
    assert recorder.asked[-1][:2] == ("DELETE", "/collections/team")


def test_on_a_single_node_what_needs_a_cluster_is_left_out_and_said() -> None:
    wanted = Wanted("team", "m", 64, shards=6, replicas=2)
    body = body_of(wanted, Server())
    assert not {"sharding_method", "shard_number", "replication_factor"} & body.keys()
    assert body["metadata"]["embedserve"]["shard_keys"] == 0
    [note] = notes(wanted, Server(), 3)
    assert "not a cluster: no shard keys, one replica" in note
    assert "needs 3 nodes" in note
    assert notes(wanted, Server(3), 3) == []
    given = ((None, 1, Server(3)), (None, 50, Server(3)), (4, 50, Server(3)))
    assert [shard_keys(*one) for one in given] == [6, 50, 4]
    assert "needs 9" in notes(wanted, Server(3), 9)[0]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:psf/requests.git", "github.com/psf/requests"),
        ("https://user:secret@GitHub.com/psf/requests", "github.com/psf/requests"),
        ("ssh://git@host:2222/team//app.git/", "host/team/app"),
        ("/srv/git/app.git", ""),
        ("../app", ""),
    ],
)
def test_a_repository_is_named_after_its_remote(url: str, name: str) -> None:
    assert name_of_url(url) == name


def test_without_a_remote_it_is_the_folders_name_and_a_folder_inside_is_another_repository(tmp_path: Path) -> None:
    top = tmp_path / "app"
    (top / "src").mkdir(parents=True)
    assert repository_name(str(top)) == "app"
    for command in (["init", "-q"], ["remote", "add", "origin", "git@host:team/app.git"]):
        subprocess.run(["git", "-C", str(top), *command], check=True)
    assert repository_name(str(top)) == "host/team/app"
    assert repository_name(str(top / "src")) == "host/team/app/src"


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a\nb", "x" * 201])
def test_what_cannot_be_a_repositorys_name_is_refused(name: str) -> None:
    with pytest.raises(IndexingFailed, match="no name of a repository"):
        check_name(name)


def test_the_sizing_is_the_arithmetic_of_its_formula() -> None:
    assert ram_bytes(768, "scalar") == 768 + 256 + 40 + 64
    assert ram_bytes(768, "binary") == 96 + 256 + 40 + 64
    assert disk_bytes(768, "") == 1.5 * (4 * 768 + 360 + 900 + 400)
    billion = sizing(Need(100_000, 10**9, 768, "binary", replicas=2))
    assert billion.ram == pytest.approx(2 * 456e9, rel=1e-3)
    assert billion.nodes == 17  # of 64 GiB, by memory and by disk
    assert billion.shards == 50  # 20 million chunks each
    assert sizing(Need(10, 10**4, 768)).nodes == 1
    assert sizing(Need(10, 10**4, 768, replicas=3)).nodes == 3
