"""The tool `search_code` over a collection of many repositories: all of them, or one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from embedserve.indexing.search import Query
from embedserve.indexing.shared import BETWEEN, split_path
from embedserve.mcp.opened import Opener, checked
from embedserve.mcp.packing import packed
from embedserve.mcp.search_code import MOST_RESULTS, block


def add_to(server: MCPServer[Any], opener: Opener) -> None:
    @server.tool(structured_output=False)
    async def search_code(
        query: Annotated[str, Field(description="What the code does, in words")],
        repository: Annotated[str, Field(description="Only this repository, as index_status names it")] = "",
        path_prefix: Annotated[str, Field(description="Only below this folder of a repository")] = "",
        language: Annotated[str | None, Field(description="Only this language, such as python or ts")] = None,
        limit: Annotated[int, Field(description=f"Most results, from 1 to {MOST_RESULTS}")] = 10,
        max_tokens: Annotated[int, Field(description="Most tokens of the answer, about; 0: no bound")] = 0,
    ) -> str:
        """Find code by meaning in many repositories. Gives repository//path:lines, a score and the code, best first."""
        checked("limit", limit, 1, MOST_RESULTS)
        if max_tokens < 0:
            raise ToolError(f"max_tokens is {max_tokens}; give a positive number, or 0 for no bound")
        named, path_prefix = split_path(path_prefix)
        chosen = opener.within(repository or named) if repository or named else opener
        found = await chosen.answer(Query(query, limit, None, path_prefix, language))
        one = chosen.connection.repositories[0] if len(chosen.connection.repositories) == 1 else ""
        hits = [replace(hit, path=one + BETWEEN + hit.path) if one else hit for hit in found.hits]
        notes = "".join(f"({note})\n" for note in found.notes)
        return notes + "\n" * bool(notes) + (packed(map(block, hits), max_tokens) or "nothing found")
