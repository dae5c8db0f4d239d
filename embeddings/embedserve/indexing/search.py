"""Finds chunks: embed the question, ask Qdrant for the nearest (it filters by path and language), order them by rules.

A hit's `score` is its cosine, whatever its place: the order is `ranking.py`'s, and `why` says what moved it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.languages import Language, find_language
from embedserve.indexing.ranking import Candidate, rank
from embedserve.indexing.store import Status, Store, check_fit
from embedserve.indexing.workspace import collection_name

CANDIDATES = 100  # nearest chunks that the rules may reorder


@dataclass(frozen=True)
class Query:
    """`min_score`: of the cosine; None takes every score. `path_prefix`: a file or folder inside the workspace."""

    text: str
    limit: int = 10
    min_score: float | None = None
    path_prefix: str = ""
    language: str | None = None


@dataclass(frozen=True)
class Hit:
    """`score`: the cosine. `scope`: the definitions that it is inside of and its own, the outermost first.
    `why`: the rules that moved it from the cosine's place."""

    path: str
    start_line: int
    end_line: int
    score: float
    code: str
    scope: tuple[str, ...] = ()
    why: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


async def search(store: Store, embedder: Embedder, query: Query) -> list[Hit]:
    """The best hits, best first. Raises IndexingFailed: no index, wrong model, service or Qdrant down."""
    if not query.text.strip():
        raise IndexingFailed("the question is empty")
    language = _language(query.language)
    prefix = "/".join(_parts(query.path_prefix, store.workspace))
    status = await indexed(store)
    if not embedder.dimension:
        await embedder.probe()
    check_fit(status, embedder.dimension, str(embedder.model), store.workspace)
    vector = (await embedder.embed([query.text]))[0].tolist()
    pool = max(CANDIDATES, query.limit)
    points = await store.query(vector, pool, query.min_score, prefix, language.name if language else None)
    # Equal cosines (a text that is there several times) come in the order of the files: the first of them is shown.
    usable = [(point, hit) for point in points if (hit := _hit(point))]
    usable.sort(key=lambda pair: (-pair[1].score, pair[1].path, pair[1].start_line))
    return _ordered(query, [point for point, _ in usable])


def _ordered(query: Query, points: list[dict[str, Any]]) -> list[Hit]:
    payloads = [point["payload"] for point in points]
    candidates = [
        Candidate(
            str(payload["path"]),
            str(payload.get("language")),
            str(payload["text"]),
            tuple(payload.get("defines") or ()),
        )
        for payload in payloads
    ]
    hits = []
    for item in rank(query.text, candidates)[: query.limit]:
        if hit := _hit(points[item.at], item.why):
            hits.append(hit)
    return hits


async def indexed(store: Store) -> Status:
    """The status of an index that must be there."""
    status = await store.status()
    if status is None:
        raise IndexingFailed(
            f"{store.workspace} has no index in Qdrant at {store.qdrant.url}; "
            f"make it with: embedserve index {store.workspace}"
        )
    return status


def nearest_indexed(folder: str, collections: set[str]) -> str:
    """`folder`, or the nearest folder above it that has a collection; `folder` when none has."""
    above = folder
    while collection_name(above) not in collections:
        if os.path.dirname(above) == above:
            return folder
        above = os.path.dirname(above)
    return above


def _hit(point: dict[str, Any], why: list[str] | None = None) -> Hit | None:
    payload = point["payload"] or {}
    try:
        return Hit(
            str(payload["path"]),
            int(payload["start_line"]),
            int(payload["end_line"]),
            float(point["score"]),
            str(payload["text"]),
            tuple(payload.get("scope") or ()),
            why or [],
        )
    except (KeyError, TypeError, ValueError):
        return None


def _language(name: str | None) -> Language | None:
    if name is None:
        return None
    language = find_language(name)
    if language is None:
        raise IndexingFailed(f"unknown language {name!r}; give a name like python or an extension like py")
    return language


def _parts(prefix: str, workspace: str) -> list[str]:
    if os.path.isabs(prefix):
        prefix = os.path.relpath(prefix, workspace)
    parts = [part for part in prefix.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise IndexingFailed(f"the path prefix {prefix} is not inside {workspace}")
    return parts
