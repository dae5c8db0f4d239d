"""`embedserve search "QUERY"`: find indexed code by meaning."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from embedserve.commands._search_options import add_connection_options, connection

if TYPE_CHECKING:
    from embedserve.indexing.search import Hit


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="what the code does, in words")
    parser.add_argument(
        "--workspace", metavar="PATH", help="the indexed folder (the nearest indexed one at or above the current)"
    )
    parser.add_argument("--path-prefix", metavar="DIR", default="", help="only below this folder of the workspace")
    parser.add_argument("--language", metavar="NAME", help="only files of this language (python, py, typescript, ..)")
    parser.add_argument("--min-score", type=float, metavar="S", help="only cosines of at least S (none by default)")
    parser.add_argument("--limit", type=_positive, default=10, metavar="N", help="most results (10)")
    parser.add_argument("--explain", action="store_true", help="say which rules moved each result")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_connection_options(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 1: nothing found, as grep does it."""
    hits = asyncio.run(_main(args))
    if args.json:
        print(json.dumps([hit.as_dict() for hit in hits], ensure_ascii=False, indent=2))
    elif sys.stdout.isatty():
        _show_in_colour(hits, args.explain)
    else:
        for hit in hits:
            place = f"{hit.path}:{hit.start_line}-{hit.end_line}  {hit.score:.3f}"
            print(f"{place}{_reasons(hit, args.explain)}\n{_indented(hit.code)}\n")
    if not hits and not args.json:
        print("nothing found; try other words, or a lower --min-score", file=sys.stderr)
    return 0 if hits else 1


async def _main(args: argparse.Namespace) -> list[Hit]:
    from embedserve.indexing.search import Query, search

    async with connection(args).open(args.workspace or ".", nearest=args.workspace is None) as (store, embedder):
        query = Query(args.query, args.limit, args.min_score, args.path_prefix, args.language)
        return await search(store, embedder, query)


def _reasons(hit: Hit, explain: bool) -> str:
    return f"  [{', '.join(hit.why) or 'by rank alone'}]" if explain else ""


def _show_in_colour(hits: list[Hit], explain: bool) -> None:
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    from embedserve.indexing.languages import language_of

    console = Console()
    for hit in hits:
        place = f"{hit.path}:{hit.start_line}"
        console.print(
            Text.assemble(
                (place, "bold cyan"), f"-{hit.end_line}  ", (f"{hit.score:.3f}", "green"), _reasons(hit, explain)
            )
        )
        language = language_of(hit.path)
        lexer = language.lexer if language else "text"
        syntax = Syntax(
            hit.code, lexer, line_numbers=True, start_line=hit.start_line, background_color="default", word_wrap=True
        )
        console.print(syntax)
        console.print()


def _indented(code: str) -> str:
    return "\n".join("    " + line for line in code.split("\n"))


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError("give a number from 1 to 1000")
    return value
