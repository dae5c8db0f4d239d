"""`embedserve search "QUERY"`: find code by meaning and by words.

Imports nothing heavy on the way to a warm answer: see `indexing/rest.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from embedserve.commands._search_options import add_connection_options, add_shared_options, connection
from embedserve.errors import IndexingFailed

if TYPE_CHECKING:
    from embedserve.indexing.connection import Connection
    from embedserve.indexing.embedder import Embedder
    from embedserve.indexing.rest import LightEmbedder
    from embedserve.indexing.search import Answer, Hit
    from embedserve.indexing.store import Store


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="what the code does, in words, or a name")
    parser.add_argument(
        "--workspace",
        metavar="PATH",
        action="append",
        default=[],
        help="the folder to search (the nearest indexed one at or above the current, else this repository); "
        "one that was never indexed is indexed. Several are searched together; the git URL or archive of an index goes "
        "too",
    )
    add_shared_options(parser, "only this repository of --collection; several are possible")
    parser.add_argument("--path-prefix", metavar="DIR", default="", help="only below this folder of the workspace")
    parser.add_argument("--language", metavar="NAME", help="only files of this language (python, py, typescript, ..)")
    parser.add_argument("--min-score", type=float, metavar="S", help="only cosines of at least S (none by default)")
    parser.add_argument("--limit", type=_positive, default=10, metavar="N", help="most results (10)")
    parser.add_argument("--lexical", action="store_true", help="by words alone: no model, no service, no Qdrant")
    parser.add_argument("--wait", action="store_true", help="index what is new first, vectors too")
    parser.add_argument(
        "--rerank", action="store_true", help="have the 50 best put in order by the served cross-encoder (slower)"
    )
    parser.add_argument("--explain", action="store_true", help="say which rules moved each result")
    parser.add_argument(
        "--without", metavar="RULE", action="append", default=[], help="leave out a rule that --explain names"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_connection_options(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 1: nothing found, as grep does it."""
    answer = _answer(args)
    hits = answer.hits
    for note in answer.notes:
        print(f"embedserve search: {note}", file=sys.stderr)
    if args.json:
        print(json.dumps([hit.as_dict() for hit in hits], ensure_ascii=False, indent=2))
    elif sys.stdout.isatty():
        _show_in_colour(hits, args.explain)
    else:
        for hit in hits:
            scope = f"  {hit.shown_scope}" if hit.scope else ""
            place = f"{hit.path}:{hit.start_line}-{hit.end_line}  {hit.shown_score}{scope}"
            print(f"{place}{_reasons(hit, args.explain)}\n{_indented(hit.code)}\n")
    if not hits and not args.json:
        print("nothing found; try other words, or a lower --min-score", file=sys.stderr)
    return 0 if hits else 1


def _answer(args: argparse.Namespace) -> Answer:
    from embedserve.commands._sources import local
    from embedserve.indexing.shared import split_path
    from embedserve.indexing.workspace import workspace_path

    where = connection(args)
    if where.collection:
        if args.workspace or args.lexical or args.wait:
            raise IndexingFailed("--collection goes with none of --workspace, --lexical and --wait")
        repository, args.path_prefix = split_path(args.path_prefix)
        return _in_one(replace(where, repositories=(repository,)) if repository else where, args, "")
    folders = list(dict.fromkeys(workspace_path(local(w, where.home, fresh=False)) for w in args.workspace or ["."]))
    if len(folders) == 1:
        return _in_one(where, args, folders[0])
    from embedserve.indexing.several import asked_in, merged

    chosen = asked_in(folders, args.path_prefix)
    return merged([(folder, _in_one(where, args, folder)) for folder in chosen], args.limit)


def _in_one(where: Connection, args: argparse.Namespace, folder: str) -> Answer:
    from embedserve.indexing.rest import run as run_light

    if where.is_light() and not args.wait:
        return run_light(_search(where, args, *where.light(folder)))
    import asyncio

    return asyncio.run(_over_httpx(where, args, folder))


async def _over_httpx(where: Connection, args: argparse.Namespace, folder: str) -> Answer:
    async with where.open(folder, patience=20.0) as (store, embedder):
        return await _search(where, args, store, embedder)


async def _search(
    where: Connection, args: argparse.Namespace, store: Store, embedder: Embedder | LightEmbedder
) -> Answer:
    from embedserve.indexing.first import answer, workspace_of
    from embedserve.indexing.search import Query, find

    off = tuple(args.without)
    where_in = (args.min_score, args.path_prefix, args.language)
    # A terminal of another encoding: what is no UTF-8 becomes U+FFFD, as no index and no model knows it.
    asked = os.fsencode(args.query).decode("utf-8", "replace")
    query = Query(asked, args.limit, *where_in, off, args.lexical, args.rerank)
    if where.collection:
        return await find(store, embedder, query, None)
    store.to(await workspace_of(where, store, bool(args.workspace)))
    if args.wait:
        await _index(where, store.workspace)
    return await answer(where, store, embedder, query)


async def _index(where: Connection, workspace: str) -> None:
    from embedserve.indexing.progress import Display
    from embedserve.indexing.report import Report
    from embedserve.indexing.sync import Indexer
    from embedserve.indexing.workspace import collection_name, existing_workspace

    existing_workspace(workspace)
    with Display() as display:
        async with where.open(workspace, waiting=display.note) as (store, embedder):
            indexer = Indexer(store, embedder, display, lexicon=where.lexicon_path(workspace))
            await indexer.sync(Report(workspace, collection_name(workspace)))


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
        rest = f"  {hit.shown_scope}{_reasons(hit, explain)}"
        console.print(Text.assemble((place, "bold cyan"), f"-{hit.end_line}  ", (hit.shown_score, "green"), rest))
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
