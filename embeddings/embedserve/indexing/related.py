"""From a place in an indexed file to code like it (by the vectors that are stored: no text is embedded for it) and to
the places that use the name that it defines.

Uses are found by name, not by resolving it: the index has chunks, not scopes. Everything comes from the store, so
lines are those of the last indexing run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.outline import Entry, read_file_outline
from embedserve.indexing.search import Hit, indexed
from embedserve.indexing.store import Store
from embedserve.indexing.workspace import shown_path

MOST_USES = 30
MOST_CHUNKS = 1000  # chunks with the name's text that are looked at


@dataclass(frozen=True)
class Use:
    """A line that has the name. `scope`: the definition that it is in, dotted, "" for none. `calls`: a bracket
    follows the name."""

    path: str
    line: int
    scope: str
    code: str
    calls: bool


@dataclass(frozen=True)
class Related:
    """`place`: path:lines of the chunk that was asked about. `name`: what it defines, "" for nothing.
    `more_uses`: how many are not listed."""

    place: str
    name: str
    uses: list[Use]
    more_uses: int
    similar: list[Hit]


@dataclass(frozen=True)
class _Origin:
    """The place asked about. `first` and `last`: lines of the definition, or of the chunk where there is none."""

    point_id: str
    chunk: dict[str, Any]
    name: str
    first: int
    last: int

    @property
    def path(self) -> str:
        return str(self.chunk["path"])

    def holds(self, path: str, line: int) -> bool:
        return path == self.path and self.first <= line <= self.last


async def find_related(store: Store, path: str, line: int, limit: int) -> Related:
    """What is like line `line` (from 1) of `path`, and who uses its name. Raises IndexingFailed."""
    await indexed(store)
    origin = await _origin(store, _relative(store.workspace, path), line)
    uses, more = await _uses(store, origin) if origin.name else ([], 0)
    place = f"{origin.path}:{origin.first}-{origin.last}"
    return Related(place, origin.name, uses, more, await _similar(store, origin, limit))


async def _origin(store: Store, path: str, line: int) -> _Origin:
    point_id, chunk = await _chunk_at(store, path, line)
    names = [str(name) for name in (*(chunk.get("scope") or ()), *(chunk.get("defines") or ()))]
    entry = await in_daemon_thread(_definition_at, store.workspace, path, line)
    if entry is not None and entry.name.split(", ")[0] in names:
        return _Origin(point_id, chunk, entry.name.split(", ")[0], entry.first, entry.last)
    first, last = chunk.get("definition") or (chunk["start_line"], chunk["end_line"])
    return _Origin(point_id, chunk, _name_of(chunk), int(first), int(last))


def _definition_at(workspace: str, path: str, line: int) -> Entry | None:
    """The innermost definition around a line, in the file as it is now; None where the file cannot say."""
    if not workspace:
        return None  # a repository of a collection: its files are elsewhere
    try:
        entries = read_file_outline(workspace, path).entries
    except IndexingFailed:
        return None
    around = [entry for entry in entries if entry.first <= line <= entry.last and entry.kind != "section"]
    return max(around, key=lambda entry: entry.depth, default=None)


def _relative(workspace: str, path: str) -> str:
    path = path.replace("\\", "/")
    relative = os.path.relpath(path, workspace) if os.path.isabs(path) else os.path.normpath(path)
    return shown_path(relative.replace(os.sep, "/"))


async def _chunk_at(store: Store, path: str, line: int) -> tuple[str, dict[str, Any]]:
    """The chunk that has the line, else (a blank line) the one nearest to it."""
    stored = (await store.stored([path]))[path].points
    if not stored:
        raise IndexingFailed(
            f"{path} is not in the index of {shown_path(store.workspace)}; give a path as search_code shows it, "
            "from the workspace's top (a new file is there after the next `embedserve index`)"
        )
    last = max(int(payload["end_line"]) for payload in stored.values())
    if line > last:
        raise IndexingFailed(f"{path} has {last} lines in the index, so line {line} is not there; give a smaller one")

    def distance(payload: dict[str, Any]) -> tuple[int, int]:
        first, end = int(payload["start_line"]), int(payload["end_line"])
        return max(first - line, line - end, 0), first

    return min(stored.items(), key=lambda item: distance(item[1]))


def _name_of(chunk: dict[str, Any]) -> str:
    """The innermost definition that the chunk is, is a part of, or holds."""
    if chunk.get("definition") or chunk.get("kind") not in ("block", "text", "licence", "section"):
        names = list(chunk.get("scope") or ())[-1:] or list(chunk.get("defines") or ())[:1]
    else:
        names = list(chunk.get("defines") or ())[:1]
    return str(names[0]) if names else ""


async def _uses(store: Store, origin: _Origin) -> tuple[list[Use], int]:
    """Lines with the name outside the definition itself: calls first, by path and line."""
    last = origin.name.rpartition(".")[2]
    word = re.compile(rf"(?<!\w){re.escape(last)}(?!\w)(\s*[(!<])?")
    found: list[Use] = []
    async for chunk in store.with_text(last, MOST_CHUNKS):
        found.extend(_lines_with(word, chunk, origin))
    found.sort(key=lambda use: (not use.calls, use.path, use.line))
    return found[:MOST_USES], max(0, len(found) - MOST_USES)


def _lines_with(word: re.Pattern[str], chunk: dict[str, Any], origin: _Origin) -> Iterator[Use]:
    scope = ".".join(chunk.get("scope") or ())
    for number, line in enumerate(str(chunk["text"]).split("\n"), int(chunk["start_line"])):
        match = word.search(line)
        if match and not origin.holds(str(chunk["path"]), number):
            yield Use(str(chunk["path"]), number, scope, " ".join(line.split())[:160], bool(match.group(1)))


async def _similar(store: Store, origin: _Origin, limit: int) -> list[Hit]:
    """The nearest chunks by the stored vector, without the one asked about and other parts of its definition."""
    vector = (await store.vectors([origin.point_id])).get(origin.point_id)
    if vector is None:
        return []
    hits: list[Hit] = []
    seen = {" ".join(str(origin.chunk["text"]).split())}
    for point in await store.query(vector, limit + 50, None):
        chunk = point["payload"]
        text = " ".join(str(chunk["text"]).split())
        lines = int(chunk["start_line"]), int(chunk["end_line"])
        if origin.holds(str(chunk["path"]), lines[0]) or text in seen:
            continue
        seen.add(text)
        scope = tuple(chunk.get("scope") or ())
        hits.append(Hit(str(chunk["path"]), *lines, float(point["score"]), str(chunk["text"]), scope))
    return hits[:limit]
