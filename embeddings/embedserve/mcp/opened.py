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
from embedserve.indexing.embedder import Embedder
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


def checked(name: str, value: int, least: int, most: int) -> int:
    """`value`, or a tool error that says what to give."""
    if not least <= value <= most:
        raise ToolError(f"{name} is {value}; give a number from {least} to {most}")
    return value
