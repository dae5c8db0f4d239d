"""The MCP server itself: its instructions, its tools, and how wrong arguments are answered.

Knows the SDK and the list of tools; what a tool does is in the tool's own file. A call that the client cancels is
cancelled here as a task: its requests to Qdrant and to the embedding service are broken off with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from embedserve import __version__
from embedserve.errors import MissingExtra
from embedserve.indexing.connection import Connection
from embedserve.indexing.workspace import workspace_path

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:
    raise MissingExtra("embedserve mcp", "search") from None

from embedserve.mcp import find_related, index_status, outline, search_code, search_collection
from embedserve.mcp.opened import Opener

INSTRUCTIONS = (
    "Call search_code first, before text search (grep) and before reading whole files, to find where something is done "
    "in this workspace: it answers with the few functions that matter, and their lines. Ask in words for what the code "
    "does, as a docstring would say it. Then: outline shows what a file defines without reading it; find_related shows "
    "code that is like the one at a line, and who calls it. Use text search for every use of an exact string. Lines "
    "and paths of search_code and find_related are those of the last indexing run; index_status says when that was."
)
SEVERAL = " Several folders are searched together, and paths are absolute: {}."

SHARED = (
    "Call search_code to find where something is done in any of the indexed repositories; name one with `repository` "
    "where it is known. Ask in words for what the code does, as a docstring would say it. Paths are REPOSITORY//PATH, "
    "and lines are those of the last indexing run: the files need not be here. find_related takes such a path "
    "and shows code of that repository that is like the one at a line, and who calls it. index_status lists the "
    "repositories."
)
TOOLS = (search_code, find_related, outline, index_status)


class _Server(MCPServer[Any]):
    """Wrong arguments are answered with sentences: the SDK shows pydantic's own dump."""

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(f"{name}: {_sentences(error.__cause__)}") from error.__cause__
            if self._tool_manager.get_tool(name) is None:
                known = ", ".join(tool.name for tool in self._tool_manager.list_tools())
                raise ToolError(f"there is no tool {name}; the tools are {known}") from None
            raise


def build(connection: Connection, workspaces: Sequence[str], *, nearest: bool = False) -> MCPServer[Any]:
    """The server with its tools. `nearest`: search the nearest indexed folder at or above the one of `workspaces`."""
    shared = connection.collection is not None
    folders = ("",) if shared else tuple(dict.fromkeys(workspace_path(workspace) for workspace in workspaces))
    told = SEVERAL.format(", ".join(folders)) if len(folders) > 1 else ""
    instructions = SHARED if shared else INSTRUCTIONS + told
    server = _Server("embedserve", version=__version__, instructions=instructions, log_level="WARNING")
    opener = Opener(connection, folders, nearest)
    for tool in (search_collection, find_related, index_status) if shared else TOOLS:
        tool.add_to(server, opener)
    return server


def serve_stdio(connection: Connection, workspaces: Sequence[str], *, nearest: bool = False) -> None:
    """Serve until stdin closes."""
    build(connection, workspaces, nearest=nearest).run("stdio")


def _sentences(error: ValidationError) -> str:
    """What is wrong with each argument and what to give instead."""
    found = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "missing":
            found.append(f"{name} is missing; give it")
        else:
            given = repr(item["input"])
            found.append(f"{name} is {given[:60]}; {item['msg'][:1].lower()}{item['msg'][1:]}")
    return ". ".join(found)
