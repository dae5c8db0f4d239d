"""Opens the workspace for one tool call, and turns what goes wrong into a tool error: the sentence that says what to
do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mcp.server.mcpserver.exceptions import ToolError

from embedserve.errors import IndexingFailed
from embedserve.indexing.connection import Connection
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.first import answer, index_words, workspace_of
from embedserve.indexing.search import Answer, Query
from embedserve.indexing.store import Store

PATIENCE = 20.0  # seconds that a call waits for a service that says "later"; an agent waits with it


@dataclass(frozen=True)
class Opener:
    """Where the workspace is. `nearest`: take the nearest indexed folder at or above it."""

    connection: Connection
    workspace: str
    nearest: bool = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Store, Embedder]]:
        """The workspace's store and an embedder; IndexingFailed inside becomes a tool error."""
        try:
            async with self.connection.open(self.workspace, nearest=self.nearest, patience=PATIENCE) as both:
                yield both
        except IndexingFailed as error:
            raise ToolError(error.message) from None

    async def answer(self, store: Store, embedder: Embedder, query: Query) -> Answer:
        """What is found. A workspace that was never indexed is indexed: by words at once, vectors behind."""
        store.to(await workspace_of(self.connection, store, not self.nearest))

        async def make(path: str, workspace: str, window: int | None) -> str:
            return await in_daemon_thread(index_words, path, workspace, window)

        return await answer(self.connection, store, embedder, query, make)


def checked(name: str, value: int, least: int, most: int) -> int:
    """`value`, or a tool error that says what to give."""
    if not least <= value <= most:
        raise ToolError(f"{name} is {value}; give a number from {least} to {most}")
    return value
