"""Code search for agents: an MCP server with two tools, `search_code` and `index_status`, over stdio.

A thin layer on `indexing.search`; it holds no state between calls, so that a service or a Qdrant that was
restarted is found again. Errors become tool errors with the sentence that says what to do. Nothing but the
protocol goes to stdout.

(The official SDK is imported absolutely as `mcp`; this module is `embedserve.mcp`.)
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from embedserve import __version__
from embedserve.errors import IndexingFailed, MissingExtra
from embedserve.indexing.connection import Connection
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.search import Hit, Query, indexed, search
from embedserve.indexing.store import Store

try:
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError:
    raise MissingExtra("embedserve mcp", "search") from None

INSTRUCTIONS = (
    "Call search_code first, before text search and before reading whole files, to find where something is done in "
    "this workspace. Ask in words for what the code does, as a docstring would say it; use text search for every use "
    "of an exact name. Lines and paths in the answers are those of the last indexing run."
)
MOST_RESULTS = 50
CHARACTERS_PER_TOKEN = 3.5  # an estimate for code: the agent's own tokenizer is not known here


@asynccontextmanager
async def _opened(connection: Connection, workspace: str, nearest: bool) -> AsyncIterator[tuple[Store, Embedder]]:
    """The workspace's store and an embedder; IndexingFailed inside becomes a tool error."""
    try:
        async with connection.open(workspace, nearest=nearest, patience=20.0) as both:
            yield both
    except IndexingFailed as error:
        raise ToolError(error.message) from None


def build(connection: Connection, workspace: str, *, nearest: bool = False) -> MCPServer:
    """The server with its two tools. `nearest`: search the nearest indexed folder at or above `workspace`."""
    server = MCPServer("embedserve", version=__version__, instructions=INSTRUCTIONS, log_level="WARNING")

    @server.tool(structured_output=False)
    async def search_code(
        query: Annotated[str, Field(description="What the code does, in words")],
        path_prefix: Annotated[str, Field(description="Only below this folder of the workspace")] = "",
        language: Annotated[str | None, Field(description="Only this language, such as python or ts")] = None,
        limit: Annotated[int, Field(description=f"Most results, from 1 to {MOST_RESULTS}")] = 10,
        min_score: Annotated[float | None, Field(description="Only scores of at least this")] = None,
        max_tokens: Annotated[int, Field(description="Most tokens of the answer, about; 0: no bound")] = 0,
    ) -> str:
        """Find code by meaning. Gives path:lines, a similarity score and the code, the best first."""
        if not 1 <= limit <= MOST_RESULTS:
            raise ToolError(f"limit is {limit}; give a number from 1 to {MOST_RESULTS}")
        if max_tokens < 0:
            raise ToolError(f"max_tokens is {max_tokens}; give a positive number, or 0 for no bound")
        async with _opened(connection, workspace, nearest) as (store, embedder):
            hits = await search(store, embedder, Query(query, limit, min_score, path_prefix, language))
            status = await indexed(store)
        warning = "" if status.complete is not False else "(indexing is not complete: there may be more)\n\n"
        return warning + (_packed(hits, max_tokens) or "nothing found")

    @server.tool()
    async def index_status() -> dict[str, Any]:
        """Which workspace is indexed, with which model, how many chunks, and whether indexing was completed."""
        async with _opened(connection, workspace, nearest) as (store, _embedder):
            status = await indexed(store)
        updated = status.updated_at
        return {
            "workspace": store.workspace,
            "collection": status.collection,
            "chunks": status.points,
            "dimension": status.dimension,
            "model": status.model,
            "complete": status.complete,
            "updated_at": datetime.fromtimestamp(updated, UTC).isoformat(timespec="seconds") if updated else None,
        }

    return server


def serve_stdio(connection: Connection, workspace: str, *, nearest: bool = False) -> None:
    """Serve until stdin closes."""
    build(connection, workspace, nearest=nearest).run("stdio")


def _packed(hits: list[Hit], max_tokens: int) -> str:
    """The hits that fit in about `max_tokens` (0: all), each whole; of the others only path and lines.

    What does not fit is named, never cut, so that the agent can read those lines. The names come on top of the bound.
    """
    room = max_tokens * CHARACTERS_PER_TOKEN if max_tokens else float("inf")
    shown, left = [], []
    for hit in hits:
        text = _shown(hit)
        if len(text) <= room:
            room -= len(text)
            shown.append(text)
        else:
            left.append(f"{hit.path}:{hit.start_line}-{hit.end_line}")
    if left:
        shown.append("Found too, but over max_tokens: " + ", ".join(left))
    return "\n\n".join(shown)


def _shown(hit: Hit) -> str:
    """The hit in a fence that is longer than any run of backticks in its code."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", hit.code)), default=0))
    return f"{hit.path}:{hit.start_line}-{hit.end_line} (score {hit.score:.3f})\n{fence}\n{hit.code}\n{fence}"
