"""What an index is made of: its recipe, its points, its marker; and what Qdrant says of one, read and checked.

Pure: it asks nobody. The law of the collection is in `store.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import CHUNKER, NAMESPACE, TEXT_FORM, Chunk

SCHEMA = 1
MARKER_ID = str(uuid.uuid5(NAMESPACE, "index"))
CLIENTS_MARKER_ID = "f70bfc2c-6e82-5456-9c20-33b51942337c"  # Roo Code's and Zoo Code's completion marker


@dataclass(frozen=True)
class Recipe:
    """What an index is made with. `max_tokens`: the model's window that chunks were fitted to, 0 for unknown."""

    model: str
    dimension: int
    max_tokens: int = 0
    schema: int = SCHEMA
    chunker: int = CHUNKER
    text_form: int = TEXT_FORM

    @property
    def key(self) -> str:
        """Part of every file's digest: what decides how a file is cut."""
        return f"{self.max_tokens}/{self.schema}/{self.chunker}/{self.text_form}"

    @property
    def cutting(self) -> str:
        """What decides the points of a file, as the lexical index notes it."""
        return f"{self.max_tokens}/{self.chunker}/{self.text_form}"


@dataclass(frozen=True)
class Status:
    """What is known of a workspace's index. `complete` is None where no marker of ours says."""

    collection: str
    points: int
    dimension: int
    complete: bool | None
    model: str | None
    updated_at: float | None  # seconds since 1970
    files: int = 0
    chunks: int = 0  # of the last complete run
    recipe: Recipe | None = None
    indexed_fields: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FileRecord:
    """One indexed file as a whole: the digest of its bytes and recipe, how many chunks it has."""

    digest: str
    chunks: int


@dataclass
class Point:
    """A chunk to write, with its vector. `record`: of its file, on the first chunk."""

    chunk: Chunk
    vector: Any  # a list or a row of an array
    record: FileRecord | None = None

    def body(self) -> dict[str, Any]:
        payload = self.chunk.payload()
        if self.record:
            payload |= {"record": "file", "file": asdict(self.record)}
        return {"id": self.chunk.id, "vector": self.vector, "payload": payload}


@dataclass
class Stored:
    """What is stored of one file: point id -> its payload."""

    points: dict[str, dict[str, Any]] = field(default_factory=dict)


def status_of(collection: str, info: dict[str, Any], points: int, marker: dict[str, Any]) -> Status:
    """`info`: what Qdrant says of the collection. `marker`: the payload of the index's marker, {} for none."""
    return Status(
        collection=collection,
        points=points,
        dimension=dimension_of(info),
        complete=bool(marker["complete"]) if "complete" in marker else None,
        model=(marker.get("recipe") or {}).get("model"),
        updated_at=marker.get("updated_at"),
        files=int(marker.get("files") or 0),
        chunks=int(marker.get("chunks") or 0),
        recipe=_recipe(marker.get("recipe")),
        indexed_fields=frozenset(info.get("payload_schema") or {}),
    )


def check_fit(status: Status, dimension: int, model: str, workspace: str) -> None:
    """Raises IndexingFailed when vectors of this model do not belong into this collection."""
    check_ours(status)
    advice = f"serve the model that the index was made with, or make it anew: embedserve index --recreate {workspace}"
    if status.dimension != dimension:
        raise IndexingFailed(
            f"the collection {status.collection} has vectors of {status.dimension} dimensions, but the model "
            f"{model} gives {dimension}; nothing was changed. Either {advice}"
        )
    if status.model and status.model != model:
        raise IndexingFailed(
            f"the collection {status.collection} was made with the model {status.model}, and vectors of {model} "
            f"cannot be compared with it; nothing was changed. Either {advice}"
        )
    if status.recipe and status.recipe.schema > SCHEMA:
        raise IndexingFailed(
            f"the collection {status.collection} was written by a newer embedserve; nothing was changed. "
            f"Either update embedserve, or make it anew: embedserve index --recreate {workspace}"
        )


def check_ours(status: Status) -> None:
    if status.points and status.complete is None:
        raise IndexingFailed(
            f"the collection {status.collection} holds {status.points} points but not the mark of `embedserve index`; "
            "it is somebody else's and was left as it is"
        )


def nearest_body(
    vector: Sequence[float], limit: int, min_score: float | None, path: str = "", language: str | None = None
) -> dict[str, Any]:
    must = [match("type", "chunk")]
    if path:
        must.append(match("paths", path))
    if language:
        must.append(match("language", language))
    body: dict[str, Any] = {
        "query": list(vector),
        "filter": {"must": must},
        "limit": limit,
        "params": {"hnsw_ef": 128, "exact": False},
        "with_payload": True,
    }
    return body if min_score is None else {**body, "score_threshold": min_score}


def match(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "match": {"value": value}}


def _recipe(found: Any) -> Recipe | None:
    try:
        return Recipe(**found)
    except TypeError:
        return None


def dimension_of(info: dict[str, Any]) -> int:
    """0: not a collection with one unnamed vector, so not one of ours."""
    vectors = ((info.get("config") or {}).get("params") or {}).get("vectors") or {}
    return int(vectors.get("size") or 0) if isinstance(vectors, dict) else 0
