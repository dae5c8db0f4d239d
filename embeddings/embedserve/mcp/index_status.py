"""The tool `index_status`: what is indexed, with what, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from embedserve.indexing.search import indexed
from embedserve.mcp.opened import Opener


def add_to(server: MCPServer[Any], opener: Opener) -> None:
    @server.tool()
    async def index_status() -> dict[str, Any]:
        """Which workspace is indexed, with which model, how many chunks, and whether indexing was completed."""
        if opener.several:
            return {"workspaces": [await _status_or_error(one) for one in opener.each()]}
        return await _status(opener)


async def _status_or_error(opener: Opener) -> dict[str, Any]:
    try:
        return await _status(opener)
    except ToolError as error:
        return {"workspace": opener.folders[0], "error": str(error)}


async def _status(opener: Opener) -> dict[str, Any]:
    async with opener.open() as (store, _embedder):
        status = await indexed(store)
        shared = opener.connection.collection is not None
        repositories = sorted(await store.indexed_workspaces()) if shared else []
    if shared:
        about = {"chunks": status.points, "dimension": status.dimension, "model": status.model}
        served = opener.connection.repositories or repositories
        return {"collection": status.collection, **about, "repositories": list(served)}
    updated = status.updated_at
    return {
        "workspace": store.workspace,
        "collection": status.collection,
        "files": status.files,
        "chunks": status.points,
        "dimension": status.dimension,
        "model": status.model,
        "complete": status.complete,
        "updated_at": datetime.fromtimestamp(updated, UTC).isoformat(timespec="seconds") if updated else None,
    }
