"""The embedding cache: an LRU in memory over a table on disk. Full-dimension unit vectors in float32.

A key is a 128-bit BLAKE2b of the token ids under the namespace of a `VectorOrigin`. Prompts
and truncation need no place in it: they are in the ids already. The disk layer is SQLite in WAL mode: shared by
processes, safe when torn, one file. Reads are on the caller's thread; writes go through one writer thread with
a bounded queue, which drops rather than waits: a cache may forget. A file is set aside and begun anew only when SQLite
says that it is damaged or no database; one that another process holds is left alone and tried again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from embedserve.backends.base import TokenIds, Vectors

log = logging.getLogger(__name__)

_SCHEMA = 1
_ROW_OVERHEAD = 120  # bytes of an LRU entry besides its floats: dict slot, key, array header
_LOOKUP = 400  # keys in one SELECT
READ_WAIT = 0.25  # seconds that a lookup waits for another process's lock: a miss costs less than a long wait
_WRITE_WAIT = 5.0
_TOGETHER = 64  # batches of vectors in one transaction
_GATHER = 0.2  # seconds that the writer waits for company: one transaction instead of one for each search
_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


@dataclass(frozen=True)
class VectorOrigin:
    """Everything that a text's vector depends on beside its token ids. A field that differs: other vectors."""

    model: str
    revision: str  # of the model's files
    backend: str  # the inference library and its version
    precision: str
    artefact: str  # digest of a converted or quantised model; "" where the model's own files run
    hardware: str  # the device and the CPU's kind: int8 saturates on some

    def namespace(self) -> bytes:
        """The prefix under which keys of these vectors live, 16 bytes."""
        return hashlib.blake2b(repr(astuple(self)).encode(), digest_size=16).digest()


def key_of(space: bytes, ids: TokenIds) -> bytes:
    return hashlib.blake2b(ids.tobytes(), digest_size=16, key=space).digest()


class MemoryCache:
    """A thread-safe LRU of vectors, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._rows: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get_many(self, keys: Sequence[bytes]) -> list[Vectors | None]:
        with self._lock:
            found = []
            for key in keys:
                row = self._rows.get(key)
                if row is not None:
                    self._rows.move_to_end(key)
                found.append(row)
            return found

    def put_many(self, keys: Sequence[bytes], rows: Sequence[Vectors]) -> None:
        with self._lock:
            for key, row in zip(keys, rows, strict=True):
                if key in self._rows:
                    continue
                # A copy: a row that is a view would keep its whole batch alive.
                self._rows[key] = row.copy()
                self.bytes += row.nbytes + _ROW_OVERHEAD
            while self.bytes > self.max_bytes and self._rows:
                _, old = self._rows.popitem(last=False)
                self.bytes -= old.nbytes + _ROW_OVERHEAD

    def __len__(self) -> int:
        return len(self._rows)


class DiskCache:
    """Vectors in one SQLite file, the oldest written going first when it outgrows `max_bytes`."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self.max_bytes = path, max_bytes
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._queue: queue.Queue[tuple[list[bytes], list[bytes]] | threading.Event | None] = queue.Queue(maxsize=256)
        self._hurry = threading.Event()  # somebody waits for the writer, or much is queued
        self._broken = False
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection().execute("SELECT count(*) FROM (SELECT 1 FROM vectors LIMIT 1)")
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self._set_aside(error)
            elif _is_locked(error):
                log.warning("embedding cache %s is held by another process (%s): tried again later", path, error)
            else:
                raise
        self._writer = threading.Thread(target=self._write, name="cache-writer", daemon=True)
        self._writer.start()

    def get_many(self, keys: Sequence[bytes], wait: float = READ_WAIT) -> dict[bytes, bytes]:
        """The vectors' bytes by key, as far as they are there. wait: seconds for another process's lock, of which the
        first lookup of a thread decides."""
        found: dict[bytes, bytes] = {}
        if self._broken:
            return found
        try:
            for start in range(0, len(keys), _LOOKUP):
                part = keys[start : start + _LOOKUP]
                marks = ",".join("?" * len(part))
                found.update(
                    self._connection(wait).execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", part)
                )
        except sqlite3.Error as error:
            self._give_up(error)
        return found

    def put_many(self, keys: list[bytes], rows: list[bytes]) -> None:
        """Queue for writing; dropped when the disk is too slow."""
        try:
            self._queue.put_nowait((keys, rows))
        except queue.Full:
            log.debug("cache writer is behind: %d vectors not kept", len(keys))
        if self._queue.qsize() > _TOGETHER:
            self._hurry.set()

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until what was queued is on disk."""
        written = threading.Event()
        try:
            self._queue.put(written, timeout=timeout)
        except queue.Full:
            return False
        self._hurry.set()
        return written.wait(timeout)

    def close(self) -> None:
        """Write what is queued and close the file."""
        try:
            self._queue.put(None, timeout=5)
            self._hurry.set()
            self._writer.join(10)
        except queue.Full:
            pass
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _connection(self, wait: float = READ_WAIT) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=wait, check_same_thread=False, isolation_level=None)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _write(self) -> None:
        while True:
            work = [self._queue.get()]
            if isinstance(work[0], tuple):
                self._hurry.wait(_GATHER)
            while len(work) < _TOGETHER:  # one transaction for what has come meanwhile
                try:
                    work.append(self._queue.get_nowait())
                except queue.Empty:
                    self._hurry.clear()
                    break
            pairs = [pair for job in work if isinstance(job, tuple) for pair in zip(*job, strict=True)]
            if pairs and not self._broken:
                self._store(pairs)
            for job in work:
                if isinstance(job, threading.Event):
                    job.set()
            if any(job is None for job in work):
                return

    def _store(self, pairs: list[tuple[bytes, bytes]]) -> None:
        try:
            connection = self._connection(_WRITE_WAIT)
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany("INSERT OR IGNORE INTO vectors (key, vector) VALUES (?, ?)", pairs)
                self._evict(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:  # locked for too long, disk full: forget these
            log.warning("embedding cache: %d vectors not kept (%s)", len(pairs), error)
        except sqlite3.DatabaseError as error:
            self._give_up(error)

    def _evict(self, connection: sqlite3.Connection) -> None:
        (pages,), (free,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size <= self.max_bytes:
            return
        # A tenth at once: freed pages are used again, so the file stays at its bound.
        connection.execute(
            "DELETE FROM vectors WHERE id IN"
            " (SELECT id FROM vectors ORDER BY id LIMIT (SELECT count(*) / 10 + 1 FROM vectors))"
        )

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        replaced = " in place of the last one" if os.path.exists(f"{self.path}.broken") else ""
        log.warning(
            "embedding cache %s is damaged (%s): set aside as .broken%s and begun anew", self.path, error, replaced
        )
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._local = threading.local()
        for suffix in ("", "-wal", "-shm"):
            old = Path(f"{self.path}{suffix}")
            if old.exists():
                os.replace(old, f"{self.path}.broken{suffix}")
        self._connection()

    def _give_up(self, error: sqlite3.Error) -> None:
        if _is_locked(error):
            return  # another process holds it just now
        if not self._broken:
            self._broken = True
            log.error(
                "embedding cache %s cannot be used (%s): going on without it until the next start",
                self.path,
                error,
            )


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the connection up. A file that has our schema is not written to: opening it waits for no writer."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")  # with WAL: a power cut loses the last rows, tears none
    connection.execute("PRAGMA cache_size=-1000")  # KiB, of each thread's connection
    connection.execute("PRAGMA journal_size_limit=67108864")
    if connection.execute("PRAGMA user_version").fetchone() != (_SCHEMA,):
        connection.execute(f"PRAGMA user_version={_SCHEMA}")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)"
    )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; its extended ones carry more in the higher bits."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGE


def _is_locked(error: sqlite3.Error) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class EmbeddingCache:
    """Both layers for one model. All methods may be called from any thread."""

    def __init__(self, space: bytes, dimension: int, memory: MemoryCache, disk: DiskCache | None) -> None:
        self.space, self.dimension = space, dimension
        self.memory, self.disk = memory, disk

    def key(self, ids: TokenIds) -> bytes:
        return key_of(self.space, ids)

    def get_many(self, keys: Sequence[bytes], wait: float = READ_WAIT) -> tuple[list[Vectors | None], int, int]:
        """(vectors or None in the order of `keys`, hits in memory, hits on disk). wait: as DiskCache.get_many."""
        rows = self.memory.get_many(keys)
        missing = [key for key, row in zip(keys, rows, strict=True) if row is None]
        in_memory = len(keys) - len(missing)
        if not missing or self.disk is None:
            return rows, in_memory, 0
        found = {
            key: np.frombuffer(blob, dtype="<f4")
            for key, blob in self.disk.get_many(missing, wait).items()
            if len(blob) == 4 * self.dimension
        }
        self.memory.put_many(list(found), list(found.values()))
        return (
            [found.get(key) if row is None else row for key, row in zip(keys, rows, strict=True)],
            in_memory,
            len(found),
        )

    def put_many(self, keys: list[bytes], rows: Vectors) -> None:
        self.memory.put_many(keys, list(rows))
        if self.disk is not None:
            self.disk.put_many(keys, [row.astype("<f4").tobytes() for row in rows])


def open_cache(
    mode: Literal["off", "memory", "disk"], home: Path, memory_bytes: int, disk_bytes: int
) -> tuple[MemoryCache, DiskCache | None] | None:
    """The layers that all models share; None when `off`."""
    if mode == "off":
        return None
    disk = None
    if mode == "disk":
        try:
            disk = DiskCache(home / "cache" / "embeddings.sqlite", disk_bytes)
        except (OSError, sqlite3.Error) as error:
            log.warning("no disk cache (%s): keeping embeddings in memory only", error)
    return MemoryCache(memory_bytes), disk
