"""The lexical index of one workspace: the words of every chunk, in one SQLite file (FTS5) beside the vectors.

It holds all that an answer without a model needs: of each file its path, digest and stamp; of each chunk its lines,
text, definitions and words (`tokens.py`). So it works with any Qdrant and with none, and exists before any vector.

Words are BM25-ranked (k1 1.2, b 0.75, FTS5's own) in three columns: of the text, of the names that the chunk defines or
is inside of, and of the path. A file's chunks are replaced in one transaction; a crash leaves the state before it. The
file can be deleted at any time: it is made again from the folder, and one of another version or a damaged one is.

Reading imports nothing heavy. It knows no model, no Qdrant and no rules.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedserve.errors import IndexingFailed
from embedserve.indexing import tokens
from embedserve.indexing.entry import Entry

if TYPE_CHECKING:
    from embedserve.indexing.chunk import Chunk

SCHEMA = 1  # with tokens.VERSION the file's version: one of another version is made again
WEIGHTS = (1.0, 2.0, 1.0)  # of a word in the text, in names, in the path
BUSY_SECONDS = 10.0

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT UNIQUE, language TEXT, digest TEXT, size INTEGER,
    changed_at REAL);
CREATE TABLE chunks (id INTEGER PRIMARY KEY, file INTEGER, point BLOB, start INTEGER, last INTEGER, kind TEXT,
    defines TEXT, scope TEXT, definition_start INTEGER, definition_last INTEGER, signature TEXT, text TEXT);
CREATE INDEX chunks_of_file ON chunks (file, start);
CREATE INDEX chunks_by_point ON chunks (point);
CREATE TABLE names (name TEXT, chunk INTEGER, PRIMARY KEY (name, chunk)) WITHOUT ROWID;
CREATE INDEX names_of_chunk ON names (chunk);
"""
_COLUMNS = """chunks.id, hex(point), path, language, start, last, kind, defines, scope, definition_start,
    definition_last, signature, text"""
_CHUNKS = f"SELECT {_COLUMNS} FROM chunks JOIN files ON files.id = chunks.file WHERE"


@dataclass(frozen=True)
class FileStamp:
    """A file as it was indexed. `size` and `changed_at` (0: not to be trusted) tell an unchanged one without reading
    it; `digest` is of its bytes and of how it was cut."""

    path: str
    language: str
    digest: str
    size: int
    changed_at: float


@dataclass(frozen=True)
class Row:
    """`stored`: the columns of a chunk. `names`: that it defines. `body`, `words_of_names`: words, spaces between."""

    stored: tuple[Any, ...]
    names: list[str]
    body: str
    words_of_names: str


class Lexicon:
    """Open one with `open_lexicon`. One writer and any number of readers at a time, also of other processes."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._db = connection
        self.path = path

    def close(self) -> None:
        self._db.close()

    def wait_for_others(self, seconds: float) -> None:
        """How long a write waits for another writer."""
        self._db.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    # --- what is stored ------------------------------------------------------------------------------

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_meta(self, **values: str) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def files(self) -> dict[str, FileStamp]:
        rows = self._db.execute("SELECT path, language, digest, size, changed_at FROM files")
        return {row[0]: FileStamp(*row) for row in rows}

    def count(self) -> int:
        """Chunks."""
        return int(self._db.execute("SELECT count(*) FROM chunks").fetchone()[0])

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Path -> chunks, of those files that are here."""
        found: dict[str, int] = {}
        for some in _groups(list(paths), 500):
            marks = ", ".join("?" * len(some))
            found |= self._db.execute(
                f"""SELECT path, count(*) FROM files JOIN chunks ON chunks.file = files.id WHERE path IN ({marks})
                    GROUP BY files.id""",
                some,
            )
        return found

    def chunks_of(self, path: str) -> list[Entry]:
        """A file's chunks in order."""
        return self._entries("path = ? ORDER BY start, chunks.id", (path,))

    def between(self, path: str, first: int, last: int) -> list[Entry]:
        """A file's chunks that have lines of `first` to `last`, in order."""
        return self._entries("path = ? AND start <= ? AND last >= ? ORDER BY start, chunks.id", (path, last, first))

    def by_points(self, points: Sequence[str]) -> dict[str, Entry]:
        """Point id -> chunk, of those that are here."""
        found: dict[str, Entry] = {}
        for some in _groups(points, 500):
            marks = ", ".join("?" * len(some))
            for entry in self._entries(f"point IN ({marks})", [uuid.UUID(point).bytes for point in some]):
                found[entry.point] = entry
        return found

    # --- finding -------------------------------------------------------------------------------------

    def find(
        self, words: Sequence[str], limit: int, path: str = "", language: str | None = None
    ) -> list[tuple[Entry, float]]:
        """The chunks that hold words of the question with their BM25 (higher is better), best first. `words`: of
        `tokens.query_words`. `path`: a file or a folder."""
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        where, values = _filter(path, language)
        best = self._db.execute(
            f"""SELECT words.rowid, -bm25(words, ?, ?, ?) AS score FROM words
                JOIN chunks ON chunks.id = words.rowid JOIN files ON files.id = chunks.file
                WHERE words MATCH ?{where} ORDER BY score DESC, words.rowid LIMIT ?""",
            (*WEIGHTS, query, *values, limit),
        ).fetchall()
        entries = self._by_row([row for row, _ in best])
        return [(entries[row], score) for row, score in best]

    def defining(self, names: Sequence[str], limit: int, path: str = "", language: str | None = None) -> list[Entry]:
        """Chunks that define one of these names (as they are written, without what they are inside of)."""
        where, values = _filter(path, language)
        marks = ", ".join("?" * len(names))
        rows = self._db.execute(
            f"""SELECT DISTINCT chunks.id FROM names JOIN chunks ON chunks.id = names.chunk
                JOIN files ON files.id = chunks.file WHERE name IN ({marks}){where} ORDER BY chunks.id LIMIT ?""",
            (*names, *values, limit),
        ).fetchall()
        entries = self._by_row([row for (row,) in rows])
        return [entries[row] for (row,) in rows]

    def _by_row(self, rows: Sequence[int]) -> dict[int, Entry]:
        marks = ", ".join("?" * len(rows))
        found = self._db.execute(f"{_CHUNKS} chunks.id IN ({marks})", rows)
        return {row[0]: _entry(row) for row in found}

    def _entries(self, where: str, values: Sequence[Any]) -> list[Entry]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM chunks JOIN files ON files.id = chunks.file WHERE {where}", values
        )
        return [_entry(row) for row in rows]

    # --- writing -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all that is written inside, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def replace(self, file: FileStamp, chunks: Iterable[Chunk]) -> None:
        """Put a file and its chunks in the place of what was there of it. Call it inside `writing`."""
        self.put(file, map(row_of, chunks))

    def put(self, file: FileStamp, rows: Iterable[Row]) -> None:
        """As `replace`, with what `row_of` made of the chunks."""
        self.remove(file.path)
        added = self._db.execute(
            "INSERT INTO files (path, language, digest, size, changed_at) VALUES (?, ?, ?, ?, ?)",
            (file.path, file.language, file.digest, file.size, file.changed_at),
        )
        in_path = _storable(" ".join(tokens.words(file.path)))
        for row in rows:
            marks = ", ".join("?" * len(row.stored))
            at = self._db.execute(
                f"INSERT INTO chunks VALUES (NULL, ?, {marks})", (added.lastrowid, *row.stored)
            ).lastrowid
            self._db.executemany("INSERT INTO names VALUES (?, ?)", [(name, at) for name in row.names])
            self._db.execute(
                "INSERT INTO words (rowid, body, names, path) VALUES (?, ?, ?, ?)",
                (at, row.body, row.words_of_names, in_path),
            )

    def remove(self, path: str) -> None:
        """Take a file out. Call it inside `writing`."""
        found = self._db.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
        if found is None:
            return
        rows = self._db.execute("SELECT id FROM chunks WHERE file = ?", found).fetchall()
        self._db.executemany("DELETE FROM words WHERE rowid = ?", rows)
        self._db.executemany("DELETE FROM names WHERE chunk = ?", rows)
        self._db.execute("DELETE FROM chunks WHERE file = ?", found)
        self._db.execute("DELETE FROM files WHERE id = ?", found)

    def distrust(self) -> None:
        """Have every file read again next time."""
        self._db.execute("UPDATE files SET changed_at = 0")

    def touch(self, files: Iterable[FileStamp]) -> None:
        """New stamps of files whose content is as it was."""
        rows = [(file.size, file.changed_at, file.digest, file.path) for file in files]
        self._db.executemany("UPDATE files SET size = ?, changed_at = ?, digest = ? WHERE path = ?", rows)


def row_of(chunk: Chunk) -> Row:
    """What is written of a chunk; made apart, since it is most of the work."""
    stored = (
        uuid.UUID(chunk.id).bytes,
        chunk.start_line,
        chunk.end_line,
        chunk.kind,
        json.dumps(chunk.defines),
        json.dumps(chunk.scope),
        *(chunk.definition or (None, None)),
        chunk.signature,
        _storable(chunk.text),
    )
    names = {_storable(name) for defined in chunk.defines for name in own_names(defined)}
    around = " ".join(" ".join(tokens.words(name)) for name in dict.fromkeys((*chunk.scope, *chunk.defines)))
    return Row(stored, sorted(names), _storable(" ".join(tokens.words(chunk.text))), _storable(around))


def own_names(defined: str) -> tuple[str, ...]:
    """What a question may call a definition: as it is written, and its last part (`a::b` and `b`)."""
    last = defined.rpartition(".")[2].rpartition("::")[2]
    return (defined,) if last == defined or not last else (defined, last)


def lexicon_path(home: str, collection: str) -> str:
    """Where a workspace's lexical index is. `home`: EMBEDDING_HOME."""
    return os.path.join(home, "index", collection + ".sqlite")


def open_lexicon(path: str) -> Lexicon | None:
    """For reading; None: there is none, or no whole one of this version. IndexingFailed: it cannot be read now."""
    if not os.path.isfile(path):
        return None
    db = None
    try:
        db = _connect(path)
        if db.execute("PRAGMA user_version").fetchone()[0] == _version():
            return Lexicon(db, path)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            _close(db)
            raise IndexingFailed(f"the lexical index {path} cannot be read now: {error}") from None
    _close(db)
    return None


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """The file is no database or a torn one, so it is made again by who writes. A locked one, a disk that fails and
    open files that ran out are none."""
    return (error.sqlite_errorcode & 0xFF) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _close(db: sqlite3.Connection | None) -> None:
    if db is not None:
        db.close()


def make_lexicon(path: str) -> Lexicon:
    """For writing; made, or made again where it is of another version or damaged. Raises IndexingFailed."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if lexicon := open_lexicon(path):
            return lexicon
        drop_lexicon(path)
        db = _connect(path)
        try:
            _make_tables(db)
        except BaseException:
            db.close()
            raise
        return Lexicon(db, path)
    except (OSError, sqlite3.Error) as error:
        hint = "; this Python's SQLite has no full-text search (FTS5)" if "fts5" in str(error) else ""
        raise IndexingFailed(f"the lexical index {path} cannot be written: {error}{hint}") from None


def _make_tables(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("BEGIN EXCLUSIVE")
    if db.execute("PRAGMA user_version").fetchone()[0] != _version():  # another process was not faster
        for statement in (*_TABLES.split(";\n"), _words_table()):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {_version()}")
    db.execute("COMMIT")


def drop_lexicon(path: str) -> bool:
    """Delete it; False: there was none."""
    was_there = os.path.exists(path)
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(path + suffix)
    return was_there


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _version() -> int:
    return 1000 * SCHEMA + tokens.VERSION


def _words_table() -> str:
    # Words come folded and stemmed, with spaces between: `ascii` takes each as it is. Older SQLite cannot delete from a
    # table that does not keep its text.
    kept = ", content='', contentless_delete=1" if sqlite3.sqlite_version_info >= (3, 43) else ""
    return f"CREATE VIRTUAL TABLE words USING fts5(body, names, path, tokenize='ascii'{kept})"


def _filter(path: str, language: str | None) -> tuple[str, list[object]]:
    where = ""
    values: list[object] = []
    if path:
        where += " AND (files.path = ? OR substr(files.path, 1, ?) = ?)"
        values += [path, len(path) + 1, path + "/"]
    if language:
        where += " AND language = ?"
        values.append(language)
    return where, values


def _entry(row: Sequence[Any]) -> Entry:
    _id, point, path, language, start, last, kind, defines, scope, first, end, signature, text = row
    definition = (first, end) if first is not None else None
    return Entry(
        path,
        language,
        text,
        tuple(json.loads(defines)),
        start,
        last,
        kind,
        tuple(json.loads(scope)),
        definition,
        signature,
        str(uuid.UUID(hex=point)),
    )


def _storable(text: str) -> str:
    """SQLite takes no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _groups(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
