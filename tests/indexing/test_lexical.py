"""The lexical index: what its words find, and that it equals the folder after whatever happened to either."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedserve.errors import IndexingFailed
from embedserve.indexing import lexical, lexical_sync
from embedserve.indexing.connection import Connection
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.first import answer
from embedserve.indexing.lexical import Lexicon, make_lexicon, open_lexicon
from embedserve.indexing.lexical_sync import LexicalTask
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.report import Report
from embedserve.indexing.search import Query
from embedserve.indexing.store import Store
from embedserve.indexing.sync import Indexer
from embedserve.indexing.tokens import query_words
from embedserve.indexing.walk import walk

PYTHON = '''class SessionStore:
    """Keeps what a visitor did between two requests of the same browser."""

    def loadCookie(self, raw_header):
        """Read the session out of the header that the browser sent along."""
        return self.signer.unsign(raw_header)
'''
GO = """package mux

// Match walks the radix tree and gives the handler of the longest pattern that fits.
func (t *Tree) FindRoute(method string, path string) http.Handler {
	return t.root.search(method, path)
}
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "web").mkdir(parents=True)
    (root / "web" / "session.py").write_text(PYTHON)
    (root / "tree.go").write_text(GO)
    return root


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "home" / "index" / "one.sqlite")


def refresh(file: str, workspace: Path, window: int = 0, only: set[str] | None = None) -> lexical_sync.Refreshed:
    def walked(paths: set[str] | None) -> lexical_sync.Walk:
        return walk(str(workspace), paths)

    return LexicalTask(file, str(workspace), walked, window).run(walked(only), only)


@pytest.fixture
def lexicon(workspace: Path, file: str) -> Iterator[Lexicon]:
    refresh(file, workspace)
    opened = open_lexicon(file)
    assert opened is not None
    yield opened
    opened.close()


def paths(lexicon: Lexicon, question: str, **where: str) -> list[str]:
    return [entry.path for entry, _score in lexicon.find(query_words(question), 10, **where)]


def content(file: str) -> list[tuple[object, ...]]:
    """All that a search can see."""
    lexicon = open_lexicon(file)
    assert lexicon is not None
    rows = [
        (entry.path, entry.start_line, entry.end_line, entry.text, entry.defines, entry.point)
        for path in lexicon.files()
        for entry in lexicon.chunks_of(path)
    ]
    found = [
        (word, entry.point, round(score, 6))
        for word in ("session", "tree", "function", "valu", "number", "1")
        for entry, score in lexicon.find([word], 1000)
    ]
    defining = [(entry.point,) for entry in lexicon.defining(["apple", "f1", "loadCookie"], 100)]
    lexicon.close()
    return sorted([*rows, *found, *defining], key=repr)


def test_words_of_an_identifier_find_it_however_it_is_written(lexicon: Lexicon) -> None:
    assert paths(lexicon, "load the cookies") == ["web/session.py"]
    assert paths(lexicon, "find_route") == paths(lexicon, "finding routes") == ["tree.go"]
    assert paths(lexicon, "nothing of the kind") == []
    assert paths(lexicon, "") == []


def test_path_and_language_narrow_what_is_found(lexicon: Lexicon) -> None:
    assert paths(lexicon, "session", path="web") == paths(lexicon, "session", path="web/session.py")
    assert paths(lexicon, "session", path="we") == paths(lexicon, "session", language="go") == []
    assert [entry.path for entry in lexicon.defining(["FindRoute"], 5)] == ["tree.go"]
    assert lexicon.defining(["FindRoute"], 5, path="web") == []


def test_a_chunk_comes_back_as_it_was_cut(lexicon: Lexicon, workspace: Path) -> None:
    [entry] = [e for e in lexicon.chunks_of("web/session.py") if "loadCookie" in e.defines]
    assert entry.text in PYTHON
    assert entry.scope[0] == "SessionStore"
    assert lexicon.by_points([entry.point, "00000000-0000-0000-0000-000000000000"]) == {entry.point: entry}
    assert lexicon.between("web/session.py", entry.end_line, entry.end_line) == [entry]


def test_an_unchanged_tree_is_not_read_again(file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in workspace.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    refresh(file, workspace)
    monkeypatch.setattr(lexical_sync, "read_bytes", lambda *_: pytest.fail("it was read"))
    assert refresh(file, workspace).changed == 0


def test_a_change_within_one_tick_of_the_clock_and_of_the_same_size_is_seen(file: str, workspace: Path) -> None:
    path = workspace / "tree.go"
    refresh(file, workspace)
    info = path.stat()
    path.write_text(GO.replace("radix", "treap"))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert refresh(file, workspace, only={"tree.go"}).changed == 1
    opened = open_lexicon(file)
    assert opened is not None
    assert paths(opened, "treap") == ["tree.go"]
    assert paths(opened, "radix") == []
    opened.close()


def test_after_any_changes_it_equals_one_that_was_made_anew(file: str, workspace: Path) -> None:
    rng, function = random.Random(3), "def f{0}(value):\n    return value * {0}  # a function of the number {0}\n\n\n"
    refresh(file, workspace)
    for turn in range(12):
        changed = set()
        for _ in range(rng.randint(1, 4)):
            path = workspace / f"d{rng.randint(0, 2)}" / f"m{rng.randint(0, 3)}.py"
            path.parent.mkdir(exist_ok=True)
            if path.exists() and rng.random() < 0.4:
                path.unlink()
            else:
                path.write_text("".join(function.format(rng.randint(0, 9)) for _ in range(rng.randint(0, 40))))
            changed.add(str(path.relative_to(workspace)))
        window = 64 if turn % 5 == 4 else 0
        refresh(file, workspace, window, changed if turn % 3 else None)
        refresh(file + ".new", workspace, window)
        assert content(file) == content(file + ".new")
        lexical.drop_lexicon(file + ".new")


def test_a_change_of_the_cut_that_was_stopped_half_way_is_finished_next_time(
    file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in workspace.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    refresh(file, workspace)
    with monkeypatch.context() as patched:
        patched.setattr(lexical_sync, "FILES_AT_ONCE", 1)
        patched.setattr(Lexicon, "put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            refresh(file, workspace, 40)
    assert refresh(file, workspace, 40).changed == 2


def test_what_fails_half_way_leaves_the_file_as_it_was(file: str, workspace: Path) -> None:
    refresh(file, workspace)
    before = content(file)
    lexicon = make_lexicon(file)

    def interrupted() -> None:
        with lexicon.writing():
            lexicon.remove("tree.go")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    lexicon.close()
    assert content(file) == before


@pytest.mark.parametrize("damage", [b"not a database at all, and long enough to be read as a header" * 40, b""])
def test_a_damaged_file_is_made_again(file: str, workspace: Path, damage: bytes) -> None:
    refresh(file, workspace)
    before = content(file)
    lexical.drop_lexicon(file)
    Path(file).write_bytes(damage)
    refresh(file, workspace)
    assert content(file) == before


def test_one_that_another_process_holds_is_not_taken_for_damaged(
    file: str, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: whatever kept it from being read, a lock among it, it was deleted and made again."""
    refresh(file, workspace)
    before = content(file)
    monkeypatch.setattr(lexical, "BUSY_SECONDS", 0.1)
    inode = os.stat(file).st_ino
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("INSERT OR REPLACE INTO meta VALUES ('x', 'y')")
        with pytest.raises(IndexingFailed, match="locked"):
            open_lexicon(file)
        with pytest.raises(IndexingFailed, match="locked"):
            refresh(file, workspace)
        other.execute("ROLLBACK")
    assert os.stat(file).st_ino == inode
    assert content(file) == before


def test_damage_that_shows_only_when_it_is_read_is_mended(file: str, workspace: Path) -> None:
    for number in range(30):
        (workspace / f"n{number}.py").write_text(PYTHON * 5)
    refresh(file, workspace)
    before = content(file)
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(Path(file).read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    Path(file).write_bytes(data)
    refresh(file, workspace)
    assert content(file) == before


def test_one_of_another_version_is_not_read_and_is_made_again(file: str, workspace: Path) -> None:
    refresh(file, workspace)
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 1")
    assert open_lexicon(file) is None
    assert refresh(file, workspace).changed == 2


def test_a_folder_that_has_become_empty_keeps_its_words(file: str, workspace: Path) -> None:
    refresh(file, workspace)
    before = content(file)
    for path in list(workspace.rglob("*.*")):
        path.unlink()
    refresh(file, workspace)
    assert content(file) == before


def test_a_place_that_cannot_be_written_is_said_so(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexingFailed, match="cannot be written"):
        refresh(str(tmp_path / "file" / "index.sqlite"), workspace)


async def test_words_are_there_though_neither_service_nor_qdrant_answers(file: str, workspace: Path) -> None:
    nobody = "http://127.0.0.1:1"
    embedder, qdrant = Embedder(nobody, patience=0), Qdrant(nobody)
    store, report = Store(qdrant, str(workspace)), Report(str(workspace), "")
    with pytest.raises(IndexingFailed, match="does not answer"):
        await Indexer(store, embedder, Display(quiet=True), lexicon=file).sync(report)
    opened = open_lexicon(file)
    assert opened is not None
    assert paths(opened, "load the cookies") == ["web/session.py"]
    opened.close()
    await embedder.close()
    await qdrant.close()


async def test_a_search_that_meets_damage_makes_the_words_again_and_answers(
    tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a page that was torn behind a whole header was a traceback of SQLite's at each search, for ever."""
    nobody = "http://127.0.0.1:1"
    where = Connection(nobody, nobody, home=str(tmp_path / "home"))
    file = where.lexicon_path(str(workspace))
    assert file
    for number in range(30):
        (workspace / f"n{number}.py").write_text(PYTHON * 5)
    os.makedirs(os.path.dirname(file))
    refresh(file, workspace)
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(Path(file).read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    Path(file).write_bytes(data)
    embedder, qdrant = Embedder(nobody, patience=0), Qdrant(nobody)
    found = await answer(where, Store(qdrant, str(workspace)), embedder, Query("load the cookies"))
    assert "web/session.py" in [hit.path for hit in found.hits]
    await embedder.close()
    await qdrant.close()
