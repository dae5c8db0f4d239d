"""The tool `find_related`: from a file and a line to code that is like it, and to who calls it."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from embedserve.indexing.related import Related
from embedserve.indexing.related import find_related as related_to
from embedserve.mcp.opened import Opener, checked
from embedserve.mcp.packing import fenced, packed

MOST_RESULTS = 50


def add_to(server: MCPServer[Any], opener: Opener) -> None:
    @server.tool(structured_output=False)
    async def find_related(
        path: Annotated[str, Field(description="A file of the workspace, such as src/app.py")],
        line: Annotated[int, Field(description="A line of that file, counted from 1")],
        limit: Annotated[int, Field(description=f"Most similar places, from 1 to {MOST_RESULTS}")] = 5,
        max_tokens: Annotated[int, Field(description="Most tokens of the code shown, about; 0: no bound")] = 0,
    ) -> str:
        """From a place in the code to what is like it elsewhere, and to the places that use the name it defines."""
        checked("limit", limit, 1, MOST_RESULTS)
        checked("line", line, 1, 10_000_000)
        checked("max_tokens", max_tokens, 0, 10_000_000)
        chosen, inside = opener.place(path)
        async with chosen.open() as (store, _embedder):
            found = await related_to(store, inside, line, limit)
            apart = opener.several or opener.connection.collection
            where = [f"Paths are inside {store.title}."] if apart else []
        return "\n\n".join([*where, _users(found), _similar(found, max_tokens)])


def _users(found: Related) -> str:
    if not found.name:
        return f"{found.place} defines no name, so nobody can be said to use it."
    if not found.uses:
        return f"Nothing else in the index uses the name {found.name} (of {found.place})."
    rows = [f"{use.path}:{use.line}{f' in {use.scope}' if use.scope else ''}: {use.code}" for use in found.uses]
    more = f"\n(and {found.more_uses} more)" if found.more_uses else ""
    return f"Uses of the name {found.name} (by name: another definition of it may be meant):\n" + "\n".join(rows) + more


def _similar(found: Related, max_tokens: int) -> str:
    blocks = []
    for hit in found.similar:
        place = f"{hit.path}:{hit.start_line}-{hit.end_line}"
        blocks.append((place, f"{place} (score {hit.score:.3f})\n{fenced(hit.code)}"))
    return "Similar code:\n" + (packed(blocks, max_tokens) or "none")
