"""`embedserve mcp`: code search for agents over the Model Context Protocol (stdio)."""

from __future__ import annotations

import argparse

from embedserve.commands._search_options import add_connection_options, resolve_connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace", metavar="PATH", help="the indexed folder (the nearest indexed one at or above the current)"
    )
    add_connection_options(parser)


def run(args: argparse.Namespace) -> int:
    from embedserve.mcp import Connection, serve_stdio

    resolve_connection(args)
    serve_stdio(
        Connection(
            args.workspace or ".",
            args.workspace is None,
            args.embeddings_url,
            args.api_key,
            args.model,
            args.qdrant_url,
            args.qdrant_api_key,
        )
    )
    return 0
