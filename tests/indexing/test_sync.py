"""The collection is made equal to the folder, from whatever state and after whatever interruption."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient

from embedserve.errors import IndexingFailed, SetupError
from embedserve.indexing import pipeline, plan
from embedserve.indexing.chunk import chunk_text, digest
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.languages import language_of
from embedserve.indexing.load import read_bytes
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.search import Query, search
from embedserve.indexing.store import Store
from embedserve.indexing.stored import MARKER_ID
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

    def __init__(self, qdrant: Qdrant, workspace: Path, service: EmbeddingStandIn) -> None:
        self.store = Store(qdrant, str(workspace))
        self.embedder = Embedder(service.url, patience=10)
        self.report = Report(str(workspace), self.store.collection)

    async def __call__(self, changed: set[str] | None = None) -> Report:
        try:
            await Indexer(self.store, self.embedder, Display(quiet=True)).sync(self.report, changed)
        finally:
            await self.embedder.close()
        return self.report


async def points(client: AsyncQdrantClient, store: Store) -> dict[str, tuple[dict[str, Any], list[float]]]:
    records, _ = await client.scroll(store.collection, limit=100_000, with_payload=True, with_vectors=True)
    return {str(p.id): (p.payload or {}, [round(x, 5) for x in p.vector or []]) for p in records if p.id != MARKER_ID}


def expected(workspace: Path) -> set[tuple[str, str]]:
    """(path, digest) of every chunk that the folder has now."""
    language = language_of("a.py")
    assert language is not None
    return {
        (str(path.relative_to(workspace)), chunk.digest)
        for path in workspace.rglob("*.py")
        for chunk in chunk_text(str(path.relative_to(workspace)), path.read_text(), language).chunks
    }


def found(stored: dict[str, tuple[dict[str, Any], list[float]]]) -> set[tuple[str, str]]:
    return {(payload["path"], payload["digest"]) for payload, _vector in stored.values()}


async def test_points_are_the_chunks_of_the_folder_in_a_collection_of_our_own(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    run = Run(qdrant, workspace, service)
    report = await run()
    assert (report.files, report.chunks, report.embedded, report.complete) == (3, 6, 6, True)
    stored = await points(client, run.store)
    assert found(stored) == expected(workspace)
    payload = next(p for p, _ in stored.values() if p["path"] == "src/b.py")
    text = (workspace / "src" / "b.py").read_text().rstrip()
    assert payload == {
        "type": "chunk",
        "path": "src/b.py",
        "paths": ["src", "src/b.py"],
        "language": "python",
        "start_line": 1,
        "end_line": 3,
        "text": text,
        "kind": "function",
        "defines": ["cherry"],
        "scope": ["cherry"],
        "definition": [1, 3],
        "digest": digest(text),
        "record": "file",
        "file": {"digest": payload["file"]["digest"], "chunks": 1},
    }
    assert run.store.collection.startswith("embedserve-")
    info = await client.get_collection(run.store.collection)
    assert info.config.params.vectors.size == 64  # type: ignore[union-attr]
    marker = (await client.retrieve(run.store.collection, [MARKER_ID], with_vectors=True))[0]
    assert marker.payload is not None
    assert (marker.payload["type"], marker.payload["complete"]) == ("index", True)
    assert marker.payload["workspace"] == str(workspace)
    assert marker.payload["recipe"]["model"] == "bag-of-words"
    assert not any(marker.vector)  # type: ignore[arg-type]


async def test_a_second_run_embeds_nothing_and_a_changed_file_only_itself(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    await Run(qdrant, workspace, service)()
    service.texts.clear()
    report = await Run(qdrant, workspace, service)()
    assert (report.embedded, report.deleted) == (0, 0)
    assert service.texts == ["test"]  # the probe
    write(workspace / "a.py", "apple", "quince")
    shutil.rmtree(workspace / "src" / "deep")
    write(workspace / "new.py", "grape")
    report = await Run(qdrant, workspace, service)()
    assert (report.embedded, report.deleted) == (2, 4)
    run = Run(qdrant, workspace, service)
    assert found(await points(client, run.store)) == expected(workspace)


async def test_a_chunk_that_moved_keeps_its_vector_and_gets_its_new_lines(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    path = workspace / "a.py"
    run = Run(qdrant, workspace, service)
    await run()
    before = await points(client, run.store)
    path.write_text("\n\n\n" + path.read_text())
    report = await Run(qdrant, workspace, service)()
    assert (report.embedded, report.deleted, report.stored) == (0, 0, 2)
    after = await points(client, run.store)
    assert after.keys() == before.keys()
    for point, (payload, vector) in after.items():
        old, old_vector = before[point]
        assert vector == old_vector
        assert payload["start_line"] == old["start_line"] + 3 * (payload["path"] == "a.py")


async def test_equal_texts_are_embedded_once(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    shutil.copytree(workspace / "src", workspace / "copied")
    run = Run(qdrant, workspace, service)
    report = await run()
    assert (report.chunks, report.embedded) == (10, 6)
    assert len(service.texts) == 1 + 6  # and the probe
    assert found(await points(client, run.store)) == expected(workspace)


async def test_a_file_that_was_cut_for_its_words_is_not_cut_again_for_its_vectors(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def twice(*_file: object) -> None:
        raise AssertionError("cut twice")

    run = Run(qdrant, workspace, service)
    indexer = Indexer(run.store, run.embedder, Display(quiet=True), lexicon=str(tmp_path / "home" / "words.sqlite"))
    monkeypatch.setattr(pipeline, "chunk_text", twice)
    await indexer.sync(run.report)
    assert run.report.warnings == []
    assert found(await points(client, run.store)) == expected(workspace)
    monkeypatch.undo()
    write(workspace / "a.py", "apple", "cherry")
    await indexer.sync(run.report)
    assert found(await points(client, run.store)) == expected(workspace)
    await run.embedder.close()


async def test_only_named_files_and_folders_are_read_again_in_a_watch_run(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn, monkeypatch: Any
) -> None:
    run = Run(qdrant, workspace, service)
    indexer = Indexer(run.store, run.embedder, Display(quiet=True))
    await indexer.sync(run.report)
    opened: set[str] = set()
    real = read_bytes

    def reading(root: str, path: str) -> bytes:
        opened.add(path)
        return real(root, path)

    monkeypatch.setattr("embedserve.indexing.plan.read_bytes", reading)
    write(workspace / "a.py", "kiwi")
    write(workspace / "new.py", "grape")
    (workspace / "src").rename(workspace / "lib")
    await indexer.sync(run.report, {"a.py", "src", "lib", "new.py"})
    assert opened == {"a.py", "new.py", "lib/b.py", "lib/deep/c.py"}
    assert found(await points(client, run.store)) == expected(workspace)
    opened.clear()
    write(workspace / "a.py", "lime")
    report = Report(str(workspace), run.store.collection)
    await indexer.sync(report, {"a.py"})
    assert opened == {"a.py"}
    assert (report.files, report.chunks) == (4, 6)
    assert found(await points(client, run.store)) == expected(workspace)


async def test_too_many_folders_to_watch_is_said_after_they_are_indexed(
    qdrant: Qdrant,
    client: AsyncQdrantClient,
    workspace: Path,
    service: EmbeddingStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def over_the_limit(*_: object, **__: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr("embedserve.indexing.events.RustNotify", over_the_limit)
    run = Run(qdrant, workspace, service)
    with pytest.raises(SetupError, match=r"watch limit reached.*sysctl fs.inotify.max_user_watches"):
        await watch(Indexer(run.store, run.embedder, Display(quiet=True)), lambda: run.report, lambda report: None)
    assert found(await points(client, run.store)) == expected(workspace)


@pytest.mark.slow
async def test_interrupted_ten_times_at_random_the_end_is_the_same_as_of_one_clean_run(
    qdrant: Qdrant, client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    workspace = tmp_path / "many"
    for number in range(60):
        write(workspace / f"d{number % 7}" / f"f{number}.py", *(f"name{number}x{i}" for i in range(30)))
    service.delay = 0.05
    rng = random.Random(5)
    stopped = 0
    for _ in range(10):
        task = asyncio.ensure_future(Run(qdrant, workspace, service)())
        await asyncio.sleep(rng.uniform(0.02, 0.3))
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            stopped += 1
        victim = rng.randrange(60)  # the tree changes meanwhile
        write(workspace / f"d{victim % 7}" / f"f{victim}.py", *(f"name{victim}y{i}" for i in range(30)))
    assert stopped >= 5
    run = Run(qdrant, workspace, service)
    await run()
    interrupted = await points(client, run.store)
    await run.store.drop()
    clean = Run(qdrant, workspace, service)
    await clean()
    assert interrupted == await points(client, clean.store)
    assert found(interrupted) == expected(workspace)


async def test_requests_are_of_sixty_texts_and_ten_at_a_time_at_the_most(
    qdrant: Qdrant, client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    write(tmp_path / "a.py", *(f"name{i}" for i in range(1500)))
    service.delay = 0.05
    report = await Run(qdrant, tmp_path, service)()
    assert report.embedded == 1500
    assert service.largest == 60
    assert 2 <= service.most_running <= 10


async def test_a_service_that_says_later_is_asked_again_when_it_said_to(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    service.answers = [(503, {"retry-after": "0"}), (429, {"retry-after": "0"}), (500, {})]
    run = Run(qdrant, workspace, service)
    told: list[str] = []
    run.embedder.waiting = told.append
    report = await run()
    assert report.complete
    assert len(told) == 3


async def test_a_service_that_goes_down_in_the_middle_loses_nothing(
    qdrant: Qdrant,
    client: AsyncQdrantClient,
    tmp_path: Path,
    service: EmbeddingStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("embedserve.indexing.embedder.ATTEMPTS", 2)
    write(tmp_path / "a.py", *(f"name{i}" for i in range(2000)))
    service.delay = 0.03
    run = Run(qdrant, tmp_path, service)
    task = asyncio.ensure_future(run())
    while run.report.embedded < 300:
        await asyncio.sleep(0.005)
    await asyncio.to_thread(service.stop)
    with pytest.raises(IndexingFailed, match=r"does not answer.*embedserve serve"):
        await task
    stored = len(await points(client, run.store))
    assert 300 <= stored < 2000
    assert not run.report.complete
    assert f"{run.report.stored} chunks of 1 changed files" in run.report.line()
    status = await run.store.status()
    assert status is not None
    assert status.complete is False
    service.start(service.port)
    again = await Run(qdrant, tmp_path, service)()
    assert again.embedded == 2000 - stored
    assert again.complete


async def test_a_wrong_dimension_is_found_before_anything_is_written(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    run = Run(qdrant, workspace, service)
    await run()
    before = await points(client, run.store)
    service.dimension = 32
    write(workspace / "a.py", "other")
    with pytest.raises(IndexingFailed, match=r"64 dimensions.*gives 32.*nothing was changed.*--recreate"):
        await Run(qdrant, workspace, service)()
    assert await points(client, run.store) == before
    with pytest.raises(IndexingFailed, match="64 dimensions"):
        await search(run.store, Embedder(service.url), Query("apple"))


async def test_another_model_of_the_same_dimension_is_refused_too(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    await Run(qdrant, workspace, service)()
    service.model = "another"
    with pytest.raises(IndexingFailed, match=r"made with the model bag-of-words.*--recreate"):
        await Run(qdrant, workspace, service)()


async def test_a_wrong_key_of_the_service_says_which_option(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    service.key = "right"
    run = Run(qdrant, workspace, service)
    with pytest.raises(IndexingFailed, match="401: wrong API key; give the right key with --api-key"):
        await run()
    assert await run.store.status() is None  # nothing was made


async def test_points_of_unreadable_files_and_folders_are_kept(
    qdrant: Qdrant,
    client: AsyncQdrantClient,
    workspace: Path,
    service: EmbeddingStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(qdrant, workspace, service)
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
    report = await Run(qdrant, workspace, service)()
    assert (report.embedded, report.deleted) == (0, 1)
    assert len(await points(client, run.store)) == len(before) - 1
    assert report.skipped["unreadable"] == 2
    assert any("a.py: Permission denied; kept as it was indexed" in warning for warning in report.warnings)


async def test_a_file_that_no_reader_expected_does_not_end_the_run(
    qdrant: Qdrant,
    client: AsyncQdrantClient,
    workspace: Path,
    service: EmbeddingStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = plan.load

    def load(data: bytes, relative: str, *rest: Any) -> Any:
        if relative == "a.py":
            raise ZeroDivisionError("of a decoder")
        return real(data, relative, *rest)

    monkeypatch.setattr(plan, "load", load)
    run = Run(qdrant, workspace, service)
    report = await run()
    assert report.complete
    assert len(await points(client, run.store)) == 4  # of the two other files
    assert any("a.py: ZeroDivisionError: of a decoder; kept" in warning for warning in report.warnings)


async def test_a_folder_that_became_empty_does_not_cost_its_index(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    """A disk that is not mounted looks like this."""
    run = Run(qdrant, workspace, service)
    await run()
    shutil.rmtree(workspace)
    workspace.mkdir()
    with pytest.raises(IndexingFailed, match=r"no file to index now.*kept"):
        await Run(qdrant, workspace, service)()
    assert len(await points(client, run.store)) == 6


async def test_names_that_are_not_utf8_are_indexed_under_an_escaped_name(
    qdrant: Qdrant, client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    name = os.fsdecode(b"caf\xe9.py")
    write(tmp_path / name, "apple")
    run = Run(qdrant, tmp_path, service)
    report = await run()
    stored = await points(client, run.store)
    assert [p["path"] for p, _ in stored.values()] == ["caf\\xe9.py"]
    assert any("caf\\xe9.py: the name is not UTF-8" in warning for warning in report.warnings)
    assert (await Run(qdrant, tmp_path, service)()).embedded == 0


async def test_search_filters_by_path_language_and_score(
    qdrant: Qdrant, client: AsyncQdrantClient, workspace: Path, service: EmbeddingStandIn
) -> None:
    (workspace / "web.js").write_text(
        "/* Return what cherry makes of the value. */\nfunction cherry(v) {\n  return v * 0;\n}\n"
    )
    run = Run(qdrant, workspace, service)
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
    qdrant: Qdrant, client: AsyncQdrantClient, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    store = Store(qdrant, str(tmp_path))
    with pytest.raises(IndexingFailed, match=f"has no index.*embedserve index {tmp_path}"):
        await search(store, Embedder(service.url), Query("apple"))
