"""Makes a workspace's lexical index equal to its folder: reads what changed, cuts it, writes its words.

A file whose size and time of change are those of its stamp is not read. One that was written within the last seconds
before it was looked at gets no time in its stamp, since a second change in the same tick would not show; it is read
again next time, and its digest tells. Needs no service and no Qdrant, and goes on where it was stopped.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import CHUNKER, TEXT_FORM, chunk_text
from embedserve.indexing.cutters import in_parallel
from embedserve.indexing.lexical import (
    BUSY_SECONDS,
    FileStamp,
    Lexicon,
    Row,
    drop_lexicon,
    is_damage,
    make_lexicon,
    row_of,
)
from embedserve.indexing.load import file_digest, load, read_bytes
from embedserve.indexing.spool import Spool, packed
from embedserve.indexing.text import MAX_CHARS
from embedserve.indexing.walk import Found, Walk
from embedserve.indexing.workspace import shown_path

FILES_AT_ONCE, CHUNKS_AT_ONCE = 200, 4000  # in one transaction, and in memory
SETTLED_SECONDS = 2.0  # younger files may change again without another time


@dataclass
class Refreshed:
    """`window`: that files are cut for. `changed`: files that were cut; `gone`: files that were taken out; `chunks`: of
    the changed files; `touched`: the paths of both."""

    window: int = 0
    changed: int = 0
    gone: int = 0
    chunks: int = 0
    touched: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Looked:
    """A file that was read. `stamp` None: it is gone, or no text. `rows` None: its content is as it was, only its stamp
    is new. `cut`: its chunks for the spool, where there is one."""

    path: str
    stamp: FileStamp | None = None
    rows: list[Row] | None = None
    cut: bytes = b""


@dataclass(frozen=True)
class _Job:
    workspace: str
    file: Found
    stamp: FileStamp | None
    key: str
    keep: bool


def fitted(window: int) -> int:
    """The window that decides how files are cut: 0 where the model's is unknown or no bound."""
    return window if 0 < window < MAX_CHARS else 0


def cutting_key(window: int) -> str:
    """What decides how a file is cut, as a text. `window`: of `fitted`."""
    return f"{window}/{CHUNKER}/{TEXT_FORM}"


def known_window(lexicon: Lexicon) -> int | None:
    """The window that the files in it were cut for; None: nothing was written yet."""
    key = lexicon.meta("cutting")
    return int(key.split("/")[0]) if key else None


@dataclass(frozen=True)
class LexicalTask:
    """How one lexical index is brought up to date. `path`: of its file. `walk`: gives the files of the workspace, or
    those under some paths. `window`: of `fitted`; None: not known, so that of the last time counts.
    `chosen`: `Chosen.given` as JSON, "" for everything; None: as it was. `patience`: seconds to wait for another that
    writes. `spool`: gets the chunks of each file that is cut."""

    path: str
    workspace: str
    walk: Callable[[set[str] | None], Walk]
    window: int | None = None
    stop: threading.Event | None = None
    advance: Callable[[str], None] = lambda _path: None
    chosen: str | None = None
    patience: float = BUSY_SECONDS
    spool: Spool | None = None

    def run(self, found: Walk, only: set[str] | None = None) -> Refreshed:
        """`found`: the files of the walk of `only`. Raises IndexingFailed where it cannot be written."""
        try:
            return self._run(found, only)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):  # no space, locked, read-only
                raise IndexingFailed(f"the lexical index {self.path} cannot be written: {error}") from None
            drop_lexicon(self.path)  # all of it can be made again
        try:
            return self._run(found, only)
        except sqlite3.Error as error:
            raise IndexingFailed(f"the lexical index {self.path} cannot be written: {error}") from None

    def _run(self, found: Walk, only: set[str] | None) -> Refreshed:
        with contextlib.closing(make_lexicon(self.path)) as lexicon:
            lexicon.wait_for_others(self.patience)
            if self.chosen is not None and self.chosen != (lexicon.meta("chosen") or ""):
                lexicon.set_meta(chosen=self.chosen)
            window = known_window(lexicon) or 0 if self.window is None else self.window
            whole = lexicon.meta("complete") is not None and lexicon.meta("cutting") == cutting_key(window)
            if only is not None and not whole:
                found, only = self.walk(None), None
            return refresh(lexicon, self.workspace, found, window, only, self.stop, self.advance, self.spool)


def refresh(
    lexicon: Lexicon,
    workspace: str,
    found: Walk,
    window: int,
    only: Iterable[str] | None = None,
    stop: threading.Event | None = None,
    advance: Callable[[str], None] = lambda _path: None,
    spool: Spool | None = None,
) -> Refreshed:
    """Bring it up to date with the files that were `found`. `window`: of `fitted`. `only`: the files and folders that
    were walked; None: all. Raises sqlite3.Error."""
    done = Refreshed(window)
    key = cutting_key(window)
    known = lexicon.files()
    if only is None and known and not found.files:
        return done  # a disk that is not mounted? What was read is kept, as the points are
    same_cut = lexicon.meta("cutting") == key
    if not same_cut:
        with lexicon.writing():
            lexicon.distrust()  # all are read again, also when this run is stopped half way
            lexicon.set_meta(cutting=key, workspace=shown_path(workspace))
    for group in _groups(_changed(workspace, found, known, key, same_cut, stop, advance, spool)):
        _write(lexicon, group, done)
    if not (stop and stop.is_set()):
        _take_out(lexicon, found, known, only, done)
        if only is None and lexicon.meta("complete") is None:
            lexicon.set_meta(complete="yes")
    return done


def _changed(
    workspace: str,
    found: Walk,
    known: dict[str, FileStamp],
    key: str,
    same_cut: bool,
    stop: threading.Event | None,
    advance: Callable[[str], None],
    spool: Spool | None,
) -> Iterator[_Looked]:
    # What is nearest the top of the tree first, and of that what was changed last: it is found first, too.
    jobs = []
    for file in sorted(found.files, key=lambda file: (file.relative.count("/"), -file.changed_at)):
        stamp = known.get(shown_path(file.relative))
        if not (same_cut and stamp and stamp.changed_at == file.changed_at > 0 and stamp.size == file.size):
            jobs.append(_Job(workspace, file, stamp, key, keep=spool is not None))
    for looked in in_parallel(look_at, jobs):
        if stop and stop.is_set():
            return
        if spool and looked.cut and looked.stamp:
            spool.put(looked.path, looked.stamp.digest, looked.cut)
            looked = replace(looked, cut=b"")
        if looked.stamp is not None:
            yield looked
        advance(looked.path)


def look_at(job: _Job) -> _Looked:
    """Read and cut one file, in whichever process. Whatever is wrong with it, the others are indexed; whoever makes
    vectors reports it."""
    try:
        return _look_at(job)
    except Exception:
        return _Looked(job.file.relative)


def _look_at(job: _Job) -> _Looked:
    now, file = time.time(), job.file
    data = read_bytes(job.workspace, file.relative)
    path, digest = shown_path(file.relative), file_digest(data, job.key)
    settled = file.changed_at if file.changed_at < now - SETTLED_SECONDS and len(data) == file.size else 0.0
    new = FileStamp(path, file.language.name, digest, len(data), settled)
    if job.stamp and job.stamp.digest == digest:
        return _Looked(path, new)
    if not data.strip():
        return _Looked(path, new, [])
    loaded = load(data, file.relative, file.language, job.key)
    window = int(job.key.split("/")[0])
    cut = chunk_text(path, loaded.text, loaded.language, window, loaded.generated)
    return _Looked(path, new, [row_of(chunk) for chunk in cut.chunks], packed(cut) if job.keep else b"")


def _write(lexicon: Lexicon, looked: Sequence[_Looked], done: Refreshed) -> None:
    with lexicon.writing():
        for file in looked:
            assert file.stamp
            if file.rows is None:
                lexicon.touch([file.stamp])
            else:
                lexicon.put(file.stamp, file.rows)
                done.changed += 1
                done.touched.add(file.path)
                done.chunks += len(file.rows)


def _take_out(
    lexicon: Lexicon, found: Walk, known: dict[str, FileStamp], only: Iterable[str] | None, done: Refreshed
) -> None:
    here = {shown_path(file.relative) for file in found.files}
    kept = [shown_path(path) for path in found.unreadable]
    looked_at = None if only is None else [shown_path(path) for path in only]
    gone = [
        path
        for path in known
        if path not in here and not _below(path, kept) and (looked_at is None or _below(path, looked_at))
    ]
    if gone:
        with lexicon.writing():
            for path in gone:
                lexicon.remove(path)
    done.gone = len(gone)
    done.touched.update(gone)


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(not root or path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _groups(items: Iterator[_Looked]) -> Iterator[list[_Looked]]:
    group: list[_Looked] = []
    for item in items:
        group.append(item)
        if len(group) >= FILES_AT_ONCE or sum(len(looked.rows or ()) for looked in group) >= CHUNKS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group
