"""`embedserve mcp`: code search for agents over the Model Context Protocol (stdio)."""

from __future__ import annotations

import argparse
import sys

from embedserve.commands._search_options import add_connection_options, add_shared_options, connection
from embedserve.errors import SetupError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workspace",
        metavar="PATH",
        action="append",
        default=[],
        help="the indexed folder (the nearest indexed one at or above the current); several are searched together",
    )
    add_shared_options(parser, "serve only this repository of --collection; several are possible")
    add_connection_options(parser)


def run(args: argparse.Namespace) -> int:
    from embedserve.commands._sources import local
    from embedserve.mcp import serve_stdio

    where = connection(args)
    if where.collection and args.workspace:
        raise SetupError("--collection goes without --workspace")
    given = []
    for workspace in args.workspace:
        if "${" in workspace:  # an editor without an open folder leaves its variable as it is
            print(f"embedserve mcp: {workspace} was not filled in; the current folder is taken", file=sys.stderr)
        else:
            given.append(local(workspace, where.home, fresh=False))
    serve_stdio(where, given or ["."], nearest=not given)
    return 0
