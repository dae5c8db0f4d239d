"""A search knows the files as they are: what changed since they were indexed is read before it, or named."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedserve.indexing import fresh
from embedserve.indexing.connection import Connection
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.first import answer
from embedserve.indexing.ignore import Chosen
from embedserve.indexing.lexical import make_lexicon, open_lexicon
from embedserve.indexing.lexical_sync import cutting_key
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.search import Answer, Query
from embedserve.indexing.store import Recipe, Store
from embedserve.indexing.sync import Indexer, Report
from support.embedding_standin import EmbeddingStandIn

AN_HOUR_AGO = time.time() - 3600


@pytest.fixture
def where(qdrant_url: str, tmp_path: Path) -> Iterator[Connection]:
    with EmbeddingStandIn() as service:
        yield Connection(service.url, qdrant_url, home=str(tmp_path / "home"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("apple", "banana", "cherry"):
        write(root / f"{name}.py", f"def {name}():\n    return 'what {name} makes'\n", AN_HOUR_AGO)
    return root


def write(file: Path, text: str, at: float | None = None) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    if at:
        os.utime(file, (at, at))


async def index(where: Connection, workspace: Path, chosen: Chosen | None = None) -> None:
    embedder, qdrant = Embedder(where.embeddings_url, patience=5), Qdrant(where.qdrant_url)
    store, lexicon = Store(qdrant, str(workspace)), where.lexicon_path(str(workspace))
    await Indexer(store, embedder, Display(quiet=True), chosen, lexicon).sync(Report(str(workspace), store.collection))
    await embedder.close()
    await qdrant.close()


async def ask(where: Connection, workspace: Path, text: str, **options: object) -> Answer:
    return await answer(where, *where.light(str(workspace)), Query(text, **options))  # type: ignore[arg-type]


def codes(found: Answer) -> str:
    return "\n".join(f"{hit.path}:{hit.start_line}\n{hit.code}" for hit in found.hits)


async def test_changed_new_and_removed_files_are_found_as_they_are(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    write(workspace / "apple.py", "import os\n\n\ndef pear():\n    return 'what zebras make'\n")
    write(workspace / "deep" / "plum.py", "def plum():\n    return 'what yaks make'\n")
    (workspace / "cherry.py").unlink()
    found = await ask(where, workspace, "what zebras and yaks make")
    assert "def pear" in codes(found)
    assert "def plum" in codes(found)
    assert "what apple makes" not in codes(found), "Qdrant still has the old text"
    assert "cherry" not in codes(found)
    assert any("3 files changed" in note and "embedserve index" in note for note in found.notes)


async def test_a_function_that_moved_down_is_shown_with_its_lines_of_today(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    text = (workspace / "banana.py").read_text()
    write(workspace / "banana.py", "\n" * 4 + text)
    found = await ask(where, workspace, "xyz", min_score=-1.0)  # by meaning alone: no word of it is anywhere
    hit = next(hit for hit in found.hits if "def banana" in hit.code)
    assert (hit.start_line, hit.score is None) == (5, False)


async def test_indexing_makes_the_vectors_and_then_nothing_is_said(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    assert (await ask(where, workspace, "what apple makes")).notes == []
    write(workspace / "apple.py", "def pear():\n    return 'what zebras make'\n")
    assert len((await ask(where, workspace, "what zebras make")).notes) == 1
    assert len((await ask(where, workspace, "what zebras make")).notes) == 1, "it is remembered"
    await index(where, workspace)
    found = await ask(where, workspace, "what zebras make")
    assert found.notes == []
    assert found.hits[0].score is not None


async def test_many_changes_are_named_not_read(
    where: Connection, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(where, workspace)
    monkeypatch.setattr(fresh, "READ_FILES", 1)
    for name in ("apple", "banana"):
        write(workspace / f"{name}.py", "def pear():\n    return 'what zebras make'\n")
    found = await ask(where, workspace, "zebras", by_words=True)
    assert found.notes == [f"2 files changed since the index was made: embedserve index {workspace}"]
    assert "zebras" not in codes(found)


async def test_what_was_not_chosen_stays_out(where: Connection, workspace: Path) -> None:
    await index(where, workspace, Chosen(exclude=["cherry.py", "*_made.py"]))
    write(workspace / "new_made.py", "def pear():\n    return 'what zebras make'\n")
    write(workspace / "new.py", "def plum():\n    return 'what zebras make'\n")
    found = await ask(where, workspace, "what zebras and cherry make", by_words=True)
    assert "def plum" in codes(found)
    assert not any(left_out in codes(found) for left_out in ("cherry", "pear"))


async def test_a_large_tree_is_not_walked_but_what_is_known_is_looked_at(
    where: Connection, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(where, workspace)
    monkeypatch.setattr(fresh, "MOST_FILES", 2)
    write(workspace / "apple.py", "def pear():\n    return 'what zebras make'\n")
    (workspace / "cherry.py").unlink()
    write(workspace / "new.py", "def plum():\n    return 'what yaks make'\n")
    found = codes(await ask(where, workspace, "what zebras and yaks and cherry make", by_words=True))
    assert "zebras" in found
    assert not any(name in found for name in ("cherry", "yaks"))


async def test_who_is_indexing_is_not_waited_for(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    write(workspace / "apple.py", "def pear():\n    return 'what zebras make'\n")
    holder = make_lexicon(where.lexicon_path(str(workspace)) or "")
    began = time.monotonic()
    with holder.writing():
        found = await asyncio.wait_for(ask(where, workspace, "what apple makes", by_words=True), 8)
    holder.close()
    assert time.monotonic() - began < 8, "a lock is waited for 10 s elsewhere"
    assert found.notes == []
    assert "def apple" in codes(found)


async def test_a_folder_that_is_away_keeps_its_words(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    workspace.rename(workspace.with_name("away"))
    assert "def apple" in codes(await ask(where, workspace, "what apple makes", by_words=True))
    workspace.mkdir()
    assert "def apple" in codes(await ask(where, workspace, "what apple makes", by_words=True))


async def test_an_unchanged_tree_is_not_written(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    path = where.lexicon_path(str(workspace)) or ""
    before = [os.stat(file).st_mtime_ns for file in (path, path + "-wal") if os.path.exists(file)]
    assert fresh.freshen(path, str(workspace)) == ""
    assert [os.stat(file).st_mtime_ns for file in (path, path + "-wal") if os.path.exists(file)] == before


def test_points_are_compared_only_where_files_are_cut_alike() -> None:
    assert Recipe("model", 4, 256).cutting == cutting_key(256)


def test_a_lexical_index_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert fresh.freshen(str(tmp_path / "none.sqlite"), str(tmp_path)) == ""
    assert open_lexicon(str(tmp_path / "none.sqlite")) is None
