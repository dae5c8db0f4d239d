"""Before a search: the words of files that changed since they were indexed, read at once where they are few.

A look costs git's listing and an `lstat` a file; nothing is opened that is as it was. A few changed files are read, cut
and found by their words in the same search; many are named, with the command that reads them. Their vectors stay as
they were until somebody indexes, which is remembered (`behind`) and said. Where `embedserve index --watch` runs, it has
been faster, and there is nothing to do. A tree of more than MOST_FILES is not walked: of it, the files that are known
are looked at, as many as LOOK_SECONDS allow; new ones wait for the next `embedserve index`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from embedserve.errors import IndexingFailed
from embedserve.indexing.lexical import FileStamp, Lexicon, open_lexicon

MOST_FILES = 5000
LOOK_SECONDS = 0.2
READ_FILES, READ_BYTES = 50, 1_000_000  # together about 0.3 s of cutting
LOCK_SECONDS = 0.2  # who holds the lock longer is indexing, and will have read them
BEHIND = "behind"  # meta: files whose vectors are older than their words


@dataclass
class _Looked:
    """`again`: paths to read again or to take out; `told`: those of them that changed for certain; `size`: bytes."""

    again: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    size: int = 0


def freshen(path: str, workspace: str) -> str:
    """Bring the words of a few changed files up to date in the lexical index `path`; what to tell who asked, "" for
    nothing."""
    try:
        return _freshen(path, workspace)
    except (IndexingFailed, sqlite3.DatabaseError):
        return ""  # locked, or damaged: whoever reads it next meets that, and says it or mends it


def _freshen(path: str, workspace: str) -> str:
    lexicon = open_lexicon(path)
    if lexicon is None:
        return ""
    with contextlib.closing(lexicon):
        if lexicon.meta("complete") is None or not os.path.isdir(workspace):
            return ""  # it is being made; or a disk is not mounted
        looked = _look(workspace, lexicon.files(), lexicon.meta("chosen"))
        chosen = lexicon.meta("chosen")
    if not looked.again:
        return ""
    if len(looked.again) > READ_FILES or looked.size > READ_BYTES:
        return f"{counted(len(looked.told))} changed since the index was made: embedserve index {workspace}"
    return _read(path, workspace, looked.again, chosen)


def behind(lexicon: Lexicon) -> int:
    """How many files have words that are newer than their vectors."""
    return len(json.loads(lexicon.meta(BEHIND) or "[]"))


def caught_up(path: str | None) -> None:
    """All files have the vectors of what they hold. Where that cannot be noted, searches go on saying the opposite."""
    with contextlib.suppress(IndexingFailed, sqlite3.Error):
        lexicon = open_lexicon(path) if path else None
        if lexicon:
            with contextlib.closing(lexicon):
                if lexicon.meta(BEHIND):
                    lexicon.set_meta(**{BEHIND: ""})


def _look(workspace: str, known: dict[str, FileStamp], chosen: str | None) -> _Looked:
    if len(known) > MOST_FILES:
        return _look_at_known(workspace, known.values())
    from embedserve.indexing.ignore import Chosen
    from embedserve.indexing.walk import walk
    from embedserve.indexing.workspace import shown_path

    looked, here = _Looked(), set()
    found = walk(workspace, chosen=Chosen(**json.loads(chosen)) if chosen else None)
    if not found.files:
        return looked
    for file in found.files:
        here.add(shown_path(file.relative))
        _note(looked, file.relative, known.get(shown_path(file.relative)), file.size, file.changed_at)
    gone = known.keys() - here - {shown_path(path) for path in found.unreadable}
    looked.again |= gone
    looked.told |= gone
    return looked


def _look_at_known(workspace: str, known: Iterable[FileStamp]) -> _Looked:
    looked, until = _Looked(), time.monotonic() + LOOK_SECONDS
    for stamp in known:
        if time.monotonic() > until:
            break
        try:
            info = os.lstat(os.path.join(workspace, stamp.path))
        except FileNotFoundError:
            looked.again.add(stamp.path)
            looked.told.add(stamp.path)
        except OSError:
            continue
        else:
            _note(looked, stamp.path, stamp, info.st_size, info.st_mtime)
    return looked


def _note(looked: _Looked, relative: str, stamp: FileStamp | None, size: int, changed_at: float) -> None:
    if stamp and stamp.size == size and stamp.changed_at == changed_at:
        return
    looked.again.add(relative)
    looked.size += size
    if stamp is None or stamp.changed_at or stamp.size != size:  # else: too young to be told by its time
        looked.told.add(relative)


def _read(path: str, workspace: str, again: set[str], chosen: str | None) -> str:
    from embedserve.indexing.ignore import Chosen
    from embedserve.indexing.lexical_sync import LexicalTask
    from embedserve.indexing.walk import Walk, walk

    def walked(only: set[str] | None) -> Walk:
        return walk(workspace, only, Chosen(**json.loads(chosen)) if chosen else None)

    try:
        done = LexicalTask(path, workspace, walked, patience=LOCK_SECONDS).run(walked(again), again)
    except IndexingFailed as error:
        return "" if "locked" in error.message else error.message
    lexicon = open_lexicon(path)
    if lexicon and done.touched:
        with contextlib.closing(lexicon), contextlib.suppress(sqlite3.Error):
            before = json.loads(lexicon.meta(BEHIND) or "[]")
            lexicon.set_meta(**{BEHIND: json.dumps(sorted({*before, *done.touched}))})
    return ""


def counted(count: int) -> str:
    """`count` files, in words."""
    return "1 file" if count == 1 else f"{count} files"
