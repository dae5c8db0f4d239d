"""Where the embedding service and Qdrant are: the one record of it, and how they are opened.

Index, search, mcp, doctor and the benchmarks take a Connection; who fills it in (flags, environment, files) is not
known here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from embedserve.indexing.embedder import PATIENCE, Embedder
from embedserve.indexing.lexical import lexicon_path
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.search import nearest_indexed
from embedserve.indexing.store import Store
from embedserve.indexing.workspace import collection_name, workspace_path


@dataclass(frozen=True)
class Connection:
    """`embeddings_url`: base URL with /v1. `model` None: the service's first. Keys None: none is sent to Qdrant.
    `home`: the folder below which lexical indexes are; None: there are none."""

    embeddings_url: str
    qdrant_url: str
    api_key: str | None = None
    qdrant_api_key: str | None = None
    model: str | None = None
    home: str | None = None

    def lexicon_path(self, workspace: str) -> str | None:
        """The file of the workspace's lexical index."""
        return lexicon_path(self.home, collection_name(workspace)) if self.home else None

    def qdrant(self) -> Qdrant:
        """A client of Qdrant; the caller closes it."""
        return Qdrant(self.qdrant_url, self.qdrant_api_key)

    def embedder(self, waiting: Callable[[str], None] | None = None, patience: float = PATIENCE) -> Embedder:
        """A client of the service; the caller closes it. `waiting` is told why a request is tried again."""
        options: dict[str, Any] = {} if waiting is None else {"waiting": waiting}
        return Embedder(self.embeddings_url, self.api_key, self.model, patience=patience, **options)

    @asynccontextmanager
    async def open(
        self,
        workspace: str,
        *,
        nearest: bool = False,
        waiting: Callable[[str], None] | None = None,
        patience: float = PATIENCE,
    ) -> AsyncIterator[tuple[Store, Embedder]]:
        """The workspace's store and an embedder, closed afterwards; `nearest`: the indexed folder at or above it."""
        client, embedder = self.qdrant(), self.embedder(waiting, patience)
        try:
            store = Store(client, workspace_path(workspace))
            if nearest:
                found = nearest_indexed(store.workspace, await store.collections())
                store = Store(client, found)
            yield store, embedder
        finally:
            await embedder.close()
            await client.close()
