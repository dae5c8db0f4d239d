"""What travels between the steps of a bulk run: a changed file, and where its points go. Knows no Ray and no model."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embedserve.indexing.chunk import Chunk
from embedserve.indexing.plan import Changed
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.shared import SharedStore
from embedserve.indexing.store import Store
from embedserve.indexing.stored import Recipe

POINTS_AT_ONCE = 250  # in one request to Qdrant


@dataclass(frozen=True)
class Bulk:
    """Where to, and with what. `actors` model processes of `threads` cores each. `home`: EMBEDDING_HOME of the actors,
    a folder that they share where they shall share what was embedded. `collection`: a shared one, and what each folder
    is called in it; None: each folder has its own."""

    qdrant_url: str
    qdrant_api_key: str | None = None
    model: str = "auto"
    actors: int = 1
    threads: int = 1
    home: str | None = None
    gpus: float = 0.0
    collection: str | None = None
    repositories: Mapping[str, str] = field(default_factory=dict)

    async def store(self, client: Qdrant, workspace: str) -> Store:
        """Where a folder's index is."""
        if self.collection is None:
            return Store(client, workspace)
        shared = SharedStore(client, self.collection, (self.repositories[workspace],), workspace)
        await shared.open()
        return shared


@dataclass
class Work:
    """One changed file on its way. `known`: it may have points already, which are looked at."""

    workspace: str
    file: Changed
    recipe: Recipe
    known: bool
    digest: str = ""
    chunks: list[Chunk] = field(default_factory=list)
    vectors: Any = None  # (chunks, dimension) float32
    embedded: int = 0
    reused: int = 0
    seconds: float = 0.0
    warning: str = ""


@dataclass(frozen=True)
class Done:
    """What became of one file. `embedded`: its texts that no cache had. `reused`: its texts of which the collection had
    the vector. `seconds`: in the engine."""

    workspace: str
    chunks: int
    embedded: int
    reused: int
    seconds: float
    deleted: int
    warning: str


def works_of(batch: dict[str, Any]) -> list[Work]:
    return [pickle.loads(row) for row in batch["work"]]


def rows_of(works: list[Work]) -> dict[str, Any]:
    rows = np.empty(len(works), dtype=object)
    rows[:] = [pickle.dumps(work) for work in works]
    return {"work": rows}
