"""The tool `outline`: what a file defines, as it is on disk now."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.outline import read_file_outline
from embedserve.mcp.opened import Opener


def add_to(server: MCPServer[Any], opener: Opener) -> None:
    @server.tool(structured_output=False)
    async def outline(
        path: Annotated[str, Field(description="A file of the workspace, such as src/app.py")],
    ) -> str:
        """What a file defines (classes, functions, methods, with their lines), without reading the file."""
        async with opener.of(path).open() as (store, _embedder):
            found = await in_daemon_thread(read_file_outline, store.workspace, path)
        rows = [f"{entry.first}-{entry.last}  {'  ' * entry.depth}{entry.head}" for entry in found.entries]
        return "\n".join([f"{found.path}: {found.language}, {found.lines} lines", *(rows or ["defines nothing"])])
