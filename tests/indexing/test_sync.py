"""The collection is made equal to the folder, from whatever state and after whatever interruption."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from qdrant_client import AsyncQdrantClient
from watchfiles import Change

from embedserve.errors import IndexingFailed, SetupError
from embedserve.indexing.chunk import chunk_file
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.progress import Display
from embedserve.indexing.search import Query, search
from embedserve.indexing.store import MARKER_ID, Store
from embedserve.indexing.sync import Indexer, Report
from embedserve.indexing.watch import watch
from support.embedding_standin import EmbeddingStandIn

FUNCTION = '''def {name}(value):
    """Return what {name} makes of the value."""
    return value * {number}


'''


def write(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(FUNCTION.format(name=name, number=index) for index, name in enumerate(names)))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "work space"
    write(root / "a.py", "apple", "banana")
    write(root / "src" / "b.py", "cherry")
    write(root / "src" / "deep" / "c.py", "damson", "elder", "fig")
    return root


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


class Run:
    """One index run with its own connection to the service, over a store that outlives it."""

    def __init__(self, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn) -> None:
        self.store = Store(client, "memory", str(workspace))
        self.embedder = Embedder(service.url, patience=10)
        self.report = Report(str(workspace), self.store.collection)

    async def __call__(self, changed: set[str] | None = None) -> Report:
        try:
            await Indexer(self.store, self.embedder, Display(quiet=True)).sync(self.report, changed)
        finally:
            await self.embedder.close()
        return self.report


async def points(client: AsyncQdrantClient, store: Store) -> dict[str, object]:
    found, _ = await client.scroll(store.collection, limit=100_000, with_payload=True, with_vectors=True)
    return {str(p.id): (p.payload, [round(x, 5) for x in p.vector or []]) for p in found if p.id != MARKER_ID}


def expected_ids(workspace: Path) -> set[str]:
    files = [str(path.relative_to(workspace)) for path in workspace.rglob("*.py")]
    return {chunk.id for name in files for chunk in chunk_file(str(workspace), name)}


async def test_points_are_the_chunks_of_the_folder_with_the_clients_payload(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    run = Run(client, workspace, service)
    report = await run()
    assert (report.files, report.chunks, report.embedded, report.complete) == (3, 6, 6, True)
    stored = await points(client, run.store)
    assert stored.keys() == expected_ids(workspace)
    payload = next(p for p, _ in stored.values() if p["filePath"] == "src/b.py")  # type: ignore[index,misc]
    assert payload["pathSegments"] == {"0": "src", "1": "b.py"}
    assert payload["startLine"] == 1
    info = await client.get_collection(run.store.collection)
    assert info.config.params.vectors.size == 64  # type: ignore[union-attr]
    marker = (await client.retrieve(run.store.collection, [MARKER_ID], with_vectors=True))[0]
    assert marker.payload["type"] == "metadata"
    assert marker.payload["indexing_complete"] is True
    assert not any(marker.vector)


async def test_a_second_run_embeds_nothing_and_a_changed_file_only_itself(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    await Run(client, workspace, service)()
    service.texts.clear()
    report = await Run(client, workspace, service)()
    assert (report.embedded, report.deleted) == (0, 0)
    assert service.texts == ["test"]  # the probe
    write(workspace / "a.py", "apple", "quince")
    shutil.rmtree(workspace / "src" / "deep")
    write(workspace / "new.py", "grape")
    report = await Run(client, workspace, service)()
    assert (report.embedded, report.deleted) == (2, 4)
    run = Run(client, workspace, service)
    assert (await points(client, run.store)).keys() == expected_ids(workspace)


async def test_a_change_that_keeps_the_clients_point_id_is_seen(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    """Their id is made of the place, the length and the first 100 characters only."""
    path = workspace / "a.py"
    path.write_text("def long_function_name(value):\n    '''" + "x" * 100 + "'''\n    return 1\n")
    await Run(client, workspace, service)()
    before = expected_ids(workspace)
    path.write_text(path.read_text().replace("return 1", "return 2"))
    assert expected_ids(workspace) == before
    report = await Run(client, workspace, service)()
    assert report.embedded == 1
    run = Run(client, workspace, service)
    texts = [p["codeChunk"] for p, _ in (await points(client, run.store)).values()]  # type: ignore[index,misc]
    assert any("return 2" in text for text in texts)
    assert not any("return 1\n" in text + "\n" for text in texts)


async def test_only_named_files_are_read_again_in_a_watch_run(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(client, workspace, service)
    indexer = Indexer(run.store, run.embedder, Display(quiet=True))
    await indexer.sync(run.report)
    opened: list[str] = []
    real = chunk_file
    monkeypatch.setattr("embedserve.indexing.sync.chunk_file", lambda w, p: (opened.append(p), real(w, p))[1])
    write(workspace / "a.py", "kiwi")
    write(workspace / "new.py", "grape")
    (workspace / "src" / "b.py").unlink()
    await indexer.sync(run.report, {"a.py"})
    assert sorted(opened) == ["a.py", "new.py"]  # new.py is not known, so it is read as well
    assert (await points(client, run.store)).keys() == expected_ids(workspace)


async def test_too_many_folders_to_watch_is_said_after_they_are_indexed(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def over_the_limit(*_: object, **__: object) -> AsyncIterator[set[tuple[Change, str]]]:
        raise OSError("OS file watch limit reached.")
        yield set()

    monkeypatch.setattr("embedserve.indexing.watch.awatch", over_the_limit)
    run = Run(client, workspace, service)
    with pytest.raises(SetupError, match=r"watch limit reached.*sysctl fs.inotify.max_user_watches"):
        await watch(Indexer(run.store, run.embedder, Display(quiet=True)), lambda: run.report, lambda report: None)
    assert (await points(client, run.store)).keys() == expected_ids(workspace)


async def test_interrupted_ten_times_at_random_the_end_is_the_same_as_of_one_clean_run(
    client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    workspace = tmp_path / "many"
    for number in range(60):
        write(workspace / f"d{number % 7}" / f"f{number}.py", *(f"name{number}x{i}" for i in range(30)))
    service.delay = 0.05
    rng = random.Random(5)
    stopped = 0
    for _ in range(10):
        task = asyncio.ensure_future(Run(client, workspace, service)())
        await asyncio.sleep(rng.uniform(0.02, 0.3))
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            stopped += 1
        victim = rng.randrange(60)  # the tree changes meanwhile
        write(workspace / f"d{victim % 7}" / f"f{victim}.py", *(f"name{victim}y{i}" for i in range(30)))
    assert stopped >= 5
    run = Run(client, workspace, service)
    await run()
    interrupted = await points(client, run.store)
    await run.store.drop()
    clean = Run(client, workspace, service)
    await clean()
    assert interrupted == await points(client, clean.store)
    assert interrupted.keys() == expected_ids(workspace)


async def test_requests_are_of_sixty_texts_and_ten_at_a_time_at_the_most(
    client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    write(tmp_path / "a.py", *(f"name{i}" for i in range(1500)))
    service.delay = 0.05
    report = await Run(client, tmp_path, service)()
    assert report.embedded == 1500
    assert service.largest == 60
    assert 2 <= service.most_running <= 10


async def test_a_service_that_says_later_is_asked_again_when_it_said_to(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    service.answers = [(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), (500, {})]
    run = Run(client, workspace, service)
    told: list[str] = []
    run.embedder.waiting = told.append
    report = await run()
    assert report.complete
    assert len(told) == 3


async def test_a_service_that_goes_down_in_the_middle_loses_nothing(
    client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedserve.indexing.embedder.ATTEMPTS", 2)
    write(tmp_path / "a.py", *(f"name{i}" for i in range(2000)))
    service.delay = 0.03
    run = Run(client, tmp_path, service)
    task = asyncio.ensure_future(run())
    while run.report.embedded < 300:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(service.stop)
    with pytest.raises(IndexingFailed, match=r"does not answer.*embedserve serve"):
        await task
    stored = len(await points(client, run.store))
    assert 300 <= stored < 2000
    assert not run.report.complete
    assert f"{run.report.embedded} of 2000" in run.report.line()
    status = await run.store.status()
    assert status is not None
    assert status.complete is False
    service.start(service.port)
    again = await Run(client, tmp_path, service)()
    assert again.embedded == 2000 - stored
    assert again.complete


async def test_a_wrong_dimension_is_found_before_anything_is_written(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    run = Run(client, workspace, service)
    await run()
    before = await points(client, run.store)
    service.dimension = 32
    write(workspace / "a.py", "other")
    with pytest.raises(IndexingFailed, match=r"64 dimensions.*gives 32.*nothing was changed.*--recreate"):
        await Run(client, workspace, service)()
    assert await points(client, run.store) == before
    with pytest.raises(IndexingFailed, match="64 dimensions"):
        await search(run.store, Embedder(service.url), Query("apple"))


async def test_another_model_of_the_same_dimension_is_refused_too(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    await Run(client, workspace, service)()
    service.model = "another"
    with pytest.raises(IndexingFailed, match=r"made with the model bag-of-words.*--recreate"):
        await Run(client, workspace, service)()


async def test_a_wrong_key_of_the_service_says_which_option(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    service.key = "right"
    run = Run(client, workspace, service)
    with pytest.raises(IndexingFailed, match="401: wrong API key; give the right key with --api-key"):
        await run()
    assert await run.store.status() is None  # nothing was made


async def test_points_of_unreadable_files_and_folders_are_kept(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(client, workspace, service)
    await run()
    before = await points(client, run.store)
    real_open, real_scandir = open, os.scandir

    def closed(path: object, *args: object, **kwargs: object) -> object:
        if str(path).endswith("a.py"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *args, **kwargs)  # type: ignore[call-overload]

    def scandir(path: str) -> object:
        if path.endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    monkeypatch.setattr("builtins.open", closed)
    monkeypatch.setattr(os, "scandir", scandir)
    (workspace / "src" / "b.py").unlink()
    report = await Run(client, workspace, service)()
    assert (report.embedded, report.deleted) == (0, 1)
    assert len(await points(client, run.store)) == len(before) - 1
    assert report.skipped["unreadable"] == 2
    assert any("a.py: Permission denied; kept as it was indexed" in warning for warning in report.warnings)


async def test_a_folder_that_became_empty_does_not_cost_its_index(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    """A disk that is not mounted looks like this."""
    run = Run(client, workspace, service)
    await run()
    shutil.rmtree(workspace)
    workspace.mkdir()
    with pytest.raises(IndexingFailed, match=r"no file to index now.*kept"):
        await Run(client, workspace, service)()
    assert len(await points(client, run.store)) == 6


async def test_names_that_are_not_utf8_are_indexed_under_an_escaped_name(
    client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    write(tmp_path / name, "apple")
    run = Run(client, tmp_path, service)
    report = await run()
    stored = await points(client, run.store)
    assert [p["filePath"] for p, _ in stored.values()] == ["caf\\xe9.py"]  # type: ignore[index,misc]
    assert any("caf\\xe9.py: the name is not UTF-8" in warning for warning in report.warnings)
    assert (await Run(client, tmp_path, service)()).embedded == 0


async def test_search_filters_by_path_language_and_score(
    client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    (workspace / "web.js").write_text(
        "/* Return what cherry makes of the value. */\nfunction cherry(v) {\n  return v * 0;\n}\n"
    )
    run = Run(client, workspace, service)
    await run()

    async def ask(text: str, **options: object) -> list[str]:
        embedder = Embedder(service.url)
        hits = await search(run.store, embedder, Query(text, **options))  # type: ignore[arg-type]
        await embedder.close()
        return [hit.path for hit in hits]

    assert (await ask("what damson makes"))[0] == "src/deep/c.py"
    assert set(await ask("cherry")) == {"a.py", "src/b.py", "src/deep/c.py", "web.js"}
    assert set(await ask("cherry", path_prefix="src")) == {"src/b.py", "src/deep/c.py"}
    assert set(await ask("cherry", path_prefix=str(workspace / "src" / "deep"))) == {"src/deep/c.py"}
    assert await ask("cherry", path_prefix="./src/b.py") == ["src/b.py"]
    assert await ask("cherry", language="js") == ["web.js"]
    assert await ask("cherry", language="python", limit=1) == ["src/b.py"]
    assert await ask("cherry", min_score=0.99) == []
    with pytest.raises(IndexingFailed, match="unknown language 'klingon'"):
        await ask("cherry", language="klingon")


async def test_a_missing_collection_says_how_to_make_it(
    client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    store = Store(client, "memory", str(tmp_path))
    with pytest.raises(IndexingFailed, match=f"has no index.*embedserve index {tmp_path}"):
        await search(store, Embedder(service.url), Query("apple"))
