"""`embedserve mcp`: code search for agents over the Model Context Protocol (stdio)."""

from __future__ import annotations

import argparse

from embedserve.commands._search_options import add_connection_options, connection


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace", metavar="PATH", help="the indexed folder (the nearest indexed one at or above the current)"
    )
    add_connection_options(parser)


def run(args: argparse.Namespace) -> int:
    from embedserve.mcp import serve_stdio

    serve_stdio(connection(args), args.workspace or ".", nearest=args.workspace is None)
    return 0
