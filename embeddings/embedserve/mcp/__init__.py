"""Code search for agents: an MCP server over stdio with `search_code`, `find_related`, `outline` and `index_status`.

A thin layer on `indexing`: each tool is a file that is added to the server in `server.py`. It holds no state between
calls, so that a service or a Qdrant that was restarted is found again. Nothing but the protocol goes to stdout.

(The official SDK is imported absolutely as `mcp`; this package is `embedserve.mcp`.)
"""

from embedserve.mcp.server import build, serve_stdio

__all__ = ["build", "serve_stdio"]
