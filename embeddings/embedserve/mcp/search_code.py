"""The tool `search_code`: a question in words -> the code that answers it, packed into a budget of tokens."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from embedserve.indexing.search import Hit, Query
from embedserve.mcp.opened import Opener, checked
from embedserve.mcp.packing import fenced, packed

MOST_RESULTS = 50


def add_to(server: MCPServer[Any], opener: Opener) -> None:
    @server.tool(structured_output=False)
    async def search_code(
        query: Annotated[str, Field(description="What the code does, in words")],
        path_prefix: Annotated[str, Field(description="Only below this folder of the workspace")] = "",
        language: Annotated[str | None, Field(description="Only this language, such as python or ts")] = None,
        limit: Annotated[int, Field(description=f"Most results, from 1 to {MOST_RESULTS}")] = 10,
        min_score: Annotated[float | None, Field(description="Only scores of at least this")] = None,
        max_tokens: Annotated[int, Field(description="Most tokens of the answer, about; 0: no bound")] = 0,
    ) -> str:
        """Find code by meaning: call this first. Gives path:lines, a similarity score and the code, the best first."""
        checked("limit", limit, 1, MOST_RESULTS)
        if max_tokens < 0:
            raise ToolError(f"max_tokens is {max_tokens}; give a positive number, or 0 for no bound")
        found = await opener.answer(Query(query, limit, min_score, path_prefix, language))
        notes = "".join(f"({note})\n" for note in found.notes)
        return notes + "\n" * bool(notes) + (packed(map(block, found.hits), max_tokens) or "nothing found")


def block(hit: Hit) -> tuple[str, str]:
    place = f"{hit.path}:{hit.start_line}-{hit.end_line}"
    score = "found by words" if hit.score is None else f"score {hit.score:.3f}"
    scope = f" in {hit.shown_scope}" if hit.scope else ""
    return place, f"{place} ({score}){scope}\n{fenced(hit.code)}"
