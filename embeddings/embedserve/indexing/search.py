"""Finds chunks by meaning: embed the question, ask Qdrant, which filters by path and language."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.languages import Language, find_language
from embedserve.indexing.store import Status, Store, check_fit
from embedserve.indexing.workspace import collection_name


@dataclass(frozen=True)
class Query:
    """`min_score`: None takes every score. `path_prefix`: a file or folder inside the workspace."""

    text: str
    limit: int = 10
    min_score: float | None = None
    path_prefix: str = ""
    language: str | None = None


@dataclass(frozen=True)
class Hit:
    path: str
    start_line: int
    end_line: int
    score: float
    code: str

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
    points = await store.query(vector, query.limit, query.min_score, prefix, language.name if language else None)
    return [hit for point in points if (hit := _hit(point))]


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


def _hit(point: dict[str, Any]) -> Hit | None:
    payload = point["payload"] or {}
    try:
        return Hit(
            str(payload["path"]),
            int(payload["start_line"]),
            int(payload["end_line"]),
            float(point["score"]),
            str(payload["text"]),
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
