"""What one file of a workspace defines, read from disk now: kinds, names and lines, by its syntax tree.

It knows no index. A notebook is read as its cells, as it is indexed. A path that leads out of the workspace, by `..`
or by a symbolic link, is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import definitions_of
from embedserve.indexing.decode import NotText
from embedserve.indexing.languages import language_of
from embedserve.indexing.load import load, read_bytes
from embedserve.indexing.syntax import Definition
from embedserve.indexing.text import Lines
from embedserve.indexing.workspace import shown_path

MOST_ENTRIES = 2000


@dataclass(frozen=True)
class Entry:
    """`first` and `last`: lines from 1. `depth`: 0 for the file's own. `head`: its first line of code, or kind and
    name where that line does not show the name."""

    kind: str
    name: str
    first: int
    last: int
    depth: int
    head: str


@dataclass(frozen=True)
class FileOutline:
    path: str
    language: str
    lines: int
    entries: list[Entry]


def read_file_outline(workspace: str, path: str) -> FileOutline:
    """`path`: inside the workspace, or absolute. Raises IndexingFailed: no such file, not a text file, too large."""
    relative, full = inside(workspace, path)
    language = language_of(relative)
    if language is None:
        raise IndexingFailed(f"{shown_path(relative)} is in no language that is known here; read the file instead")
    try:
        if os.path.getsize(full) > language.max_bytes:
            raise IndexingFailed(
                f"{shown_path(relative)} is over {language.max_bytes // 2**20} MiB; read the part that you need instead"
            )
        loaded = load(read_bytes(workspace, relative), relative, language, "")
    except NotText as error:
        raise IndexingFailed(f"{shown_path(relative)} is {error.reason}; it has no outline") from None
    except OSError as error:
        raise IndexingFailed(f"{shown_path(relative)} cannot be read: {error.strerror or error}") from None
    lines = Lines(loaded.text)
    entries = list(_entries(definitions_of(loaded.text, loaded.language), lines, 0))[:MOST_ENTRIES]
    return FileOutline(shown_path(relative), loaded.language.name, len(lines), entries)


def inside(workspace: str, path: str) -> tuple[str, str]:
    """(path inside the workspace, absolute path) of an existing file in it. Raises IndexingFailed."""
    full = os.path.normpath(os.path.join(workspace, path.replace("\\", "/") if os.sep == "/" else path))
    relative = os.path.relpath(full, workspace)
    root = os.path.realpath(workspace)
    real = os.path.realpath(full)
    if relative.startswith("..") or os.path.commonpath([root, real]) != root:
        raise IndexingFailed(f"{shown_path(path)} is not inside {shown_path(workspace)}; give a path inside it")
    if os.path.isdir(real):
        raise IndexingFailed(f"{shown_path(path)} is a folder; give a file")
    if not os.path.isfile(real):
        raise IndexingFailed(
            f"there is no file {shown_path(path)} in {shown_path(workspace)}; "
            "give a path as search_code shows it, from the workspace's top"
        )
    return relative, full


def _entries(definition: Definition, lines: Lines, depth: int) -> Iterator[Entry]:
    for inner in definition.inner:
        if not inner.names:
            yield from _entries(inner, lines, depth)
            continue
        head = " ".join(lines.text((inner.start, inner.start)).split())
        name = ", ".join(inner.names)
        if inner.names[0] not in head:
            head = f"{inner.kind} {name}"
        yield Entry(inner.kind, name, inner.first + 1, inner.last + 1, depth, head[:160])
        yield from _entries(inner, lines, depth + 1)
