"""What is to be done: the files of a folder against the records of what is stored.

A file whose bytes have the digest of its record is unchanged: it is read and hashed, not cut. Nothing here holds a
file's text; what changed is read again when its turn comes.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from embedserve.indexing.decode import NotText
from embedserve.indexing.languages import Language
from embedserve.indexing.load import file_digest, load, read_bytes
from embedserve.indexing.progress import Display
from embedserve.indexing.stored import FileRecord
from embedserve.indexing.walk import Found, Walk
from embedserve.indexing.workspace import shown_path


@dataclass(frozen=True)
class Changed:
    """A file to cut. `relative`: its path on disk; `path`: as it is stored and shown."""

    relative: str
    path: str
    language: Language
    size: int
    changed_at: float


@dataclass
class Plan:
    """`unchanged`: path -> its chunks. `gone`: stored paths that are no file of the folder now. `kept`: paths (files
    or folders) that could not be read, whose points stay."""

    changed: list[Changed] = field(default_factory=list)
    unchanged: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    generated: int = 0

    @property
    def size(self) -> int:
        return sum(file.size for file in self.changed)


def make_plan(
    workspace: str,
    walk: Walk,
    records: Mapping[str, FileRecord | None],
    leftovers: Collection[str],
    key: str,
    display: Display,
    stop: threading.Event,
) -> Plan:
    """Compare. `leftovers`: more paths that have points. `key`: of the recipe. Gives up early when `stop` is set."""
    plan = Plan()
    display.start("reading", len(walk.files))
    for found in walk.files:
        if stop.is_set():
            return plan
        _look_at(workspace, found, walk, records, key, plan)
        display.advance(1, 0, found.relative)
    plan.skipped += walk.skipped
    plan.kept = [shown_path(path) for path in walk.unreadable]
    wanted = {file.path for file in plan.changed} | plan.unchanged.keys()
    stored = records.keys() | set(leftovers)
    plan.gone = sorted(path for path in stored - wanted if not _below(path, plan.kept))
    # What is nearest the top of the tree first, and of that what was changed last.
    plan.changed.sort(key=lambda file: (file.relative.count(os.sep), -file.changed_at))
    return plan


def _look_at(
    workspace: str,
    found: Found,
    walk: Walk,
    records: Mapping[str, FileRecord | None],
    key: str,
    plan: Plan,
) -> None:
    path = shown_path(found.relative)
    try:
        data = read_bytes(workspace, found.relative)
        record = records.get(path)
        if record is not None and record.digest == file_digest(data, key):
            plan.unchanged[path] = record.chunks
            return
        if not data.strip():
            return  # nothing to find in it
        loaded = load(data, found.relative, found.language, key)
    except NotText as error:
        walk.skip(found.relative, error.reason)
        if error.reason == "of unknown encoding":
            walk.warnings.append(f"{path}: in an encoding that could not be told; not indexed (save it as UTF-8)")
        return
    except FileNotFoundError:
        return  # removed since the walk
    except Exception as error:  # whatever is wrong with one file, the others are indexed
        walk.cannot_read(found.relative, error)
        return
    if path != found.relative:
        walk.warnings.append(f"{path}: the name is not UTF-8; indexed under this name")
    plan.generated += loaded.generated
    plan.changed.append(Changed(found.relative, path, found.language, len(data), found.changed_at))


def _below(path: str, kept: list[str]) -> bool:
    return any(not folder or path == folder or path.startswith(folder.rstrip("/") + "/") for folder in kept)
