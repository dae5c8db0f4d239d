"""Where the embedding service and Qdrant are: the one record of it, and how they are opened.

Index, search, mcp, doctor and the benchmarks take a Connection; who fills it in (flags, environment, files) is not
known here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.lexical import lexicon_path
from embedserve.indexing.rest import LightEmbedder, LightQdrant, is_simple, with_port
from embedserve.indexing.search import nearest_indexed, nearest_with_words
from embedserve.indexing.shared import SharedStore
from embedserve.indexing.store import Store
from embedserve.indexing.workspace import collection_name, workspace_path

if TYPE_CHECKING:
    from embedserve.indexing.embedder import Embedder
    from embedserve.indexing.qdrant import Qdrant


@dataclass(frozen=True)
class Connection:
    """`embeddings_url`: base URL with /v1. `model` None: the service's first. Keys None: none is sent to Qdrant.
    `home`: the folder below which lexical indexes are; None: there are none. `collection`: one that many repositories
    share, of which these `repositories` are meant (none: all); None: each folder has its own."""

    embeddings_url: str
    qdrant_url: str
    api_key: str | None = None
    qdrant_api_key: str | None = None
    model: str | None = None
    home: str | None = None
    collection: str | None = None
    repositories: tuple[str, ...] = ()

    def lexicon_path(self, workspace: str) -> str | None:
        """The file of the workspace's lexical index; a shared collection has none."""
        return lexicon_path(self.home, collection_name(workspace)) if self.home and not self.collection else None

    def store(self, client: Qdrant | LightQdrant, workspace: str) -> Store:
        """The index that is meant: of the workspace, or in the shared collection."""
        if self.collection:
            return SharedStore(client, self.collection, self.repositories, workspace)
        return Store(client, workspace)

    def qdrant(self) -> Qdrant:
        """A client of Qdrant; the caller closes it."""
        from embedserve.indexing.qdrant import Qdrant

        return Qdrant(self.qdrant_url, self.qdrant_api_key)

    def embedder(self, waiting: Callable[[str], None] | None = None, patience: float | None = None) -> Embedder:
        """A client of the service; the caller closes it. `waiting` is told why a request is tried again, for up to
        `patience` seconds (None: as long as an indexer waits)."""
        from embedserve.indexing.embedder import Embedder

        given = {"waiting": waiting, "patience": patience}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return Embedder(self.embeddings_url, self.api_key, self.model, **options)

    @asynccontextmanager
    async def open(
        self,
        workspace: str,
        *,
        nearest: bool = False,
        waiting: Callable[[str], None] | None = None,
        patience: float | None = None,
    ) -> AsyncIterator[tuple[Store, Embedder]]:
        """The workspace's store ("": a collection, only read) and an embedder, closed afterwards; `nearest`: the
        indexed folder at or above it."""
        client, embedder = self.qdrant(), self.embedder(waiting, patience)
        try:
            store = self.store(client, workspace_path(workspace) if workspace else "")
            if nearest and not self.collection:
                store = Store(client, await self.nearest(store) or store.workspace)
            yield store, embedder
        finally:
            await embedder.close()
            await client.close()

    def is_light(self) -> bool:
        """Whether `light` clients reach both."""
        return is_simple(with_port(self.qdrant_url)) and is_simple(self.embeddings_url)

    def light(self, workspace: str) -> tuple[Store, LightEmbedder]:
        """The store of a workspace and an embedder for one search, driven by `rest.run`."""
        client = LightQdrant(self.qdrant_url, self.qdrant_api_key)
        return self.store(client, workspace), LightEmbedder(self.embeddings_url, self.api_key, self.model)

    async def nearest(self, store: Store) -> str | None:
        """The nearest folder at or above the store's that is indexed, by words or by meaning; None: none is. Raises
        IndexingFailed where only Qdrant could say, and it does not answer."""
        by_words = nearest_with_words(store.workspace, self.lexicon_path)
        if by_words == store.workspace:
            return by_words
        try:
            collections = await store.collections()
        except IndexingFailed:
            if by_words is None:
                raise
            return by_words
        by_meaning = nearest_indexed(store.workspace, collections)
        found = [by_words] if by_words else []
        if collection_name(by_meaning) in collections:
            found.append(by_meaning)
        return max(found, key=len, default=None)
