"""`embedserve index PATH`: make the index of a folder equal to the folder, once or on every change."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from embedserve.commands._search_options import add_connection_options, connection
from embedserve.errors import IndexingFailed

if TYPE_CHECKING:
    from embedserve.indexing.progress import Display
    from embedserve.indexing.store import Store
    from embedserve.indexing.sync import Report


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", default=".", help="folder to index (the current one)")
    add_connection_options(parser)
    parser.add_argument("--watch", action="store_true", help="go on, and index again whenever files change")
    parser.add_argument("--recreate", action="store_true", help="delete the folder's index first (another model)")
    parser.add_argument("--delete", action="store_true", help="delete the folder's index and do nothing else")
    parser.add_argument(
        "--include",
        metavar="PATTERN",
        action="append",
        default=[],
        help="index only files that match, as in .gitignore ('*.py', 'src/'); several are possible",
    )
    parser.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        default=[],
        help="leave out what matches; give it at each run, or write it into a file .embedserveignore once",
    )
    parser.add_argument("--verbose", action="store_true", help="name each file that is not indexed, and why")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from embedserve.indexing.progress import Display
    from embedserve.indexing.sync import Report
    from embedserve.indexing.workspace import collection_name, existing_workspace, workspace_path

    workspace = workspace_path(args.path) if args.delete else existing_workspace(args.path)
    report = Report(workspace, collection_name(workspace))
    try:
        with Display() as display:
            asyncio.run(_main(args, report, display))
    except KeyboardInterrupt:
        print(report.line(), file=sys.stderr)
        return 130
    except BaseException:
        if report.stored:
            print(report.line(), file=sys.stderr)
        raise
    if not (args.delete or args.watch):
        _show(report, args)
    return 0


async def _main(args: argparse.Namespace, report: Report, display: Display) -> None:
    from embedserve.indexing.ignore import Chosen
    from embedserve.indexing.lexical import drop_lexicon
    from embedserve.indexing.sync import Indexer, Report

    where = connection(args)
    lexicon = where.lexicon_path(report.workspace)
    async with where.open(report.workspace, waiting=display.note) as (store, embedder):
        if args.delete:
            await _delete(store, lexicon)
            return
        if args.recreate:
            await embedder.probe()  # a service that is away must not cost the old index
            await store.drop()
            if lexicon:
                drop_lexicon(lexicon)
        indexer = Indexer(store, embedder, display, Chosen(args.include, args.exclude), lexicon)
        if args.watch:
            from embedserve.indexing.watch import watch

            def fresh() -> Report:
                return Report(report.workspace, report.collection)

            await watch(indexer, fresh, lambda done: _show(done, args))
        else:
            await indexer.sync(report)


async def _delete(store: Store, lexicon: str | None) -> None:
    from embedserve.indexing.lexical import drop_lexicon

    had_words = lexicon is not None and drop_lexicon(lexicon)
    if await store.drop() or had_words:
        print(f"deleted the index of {store.workspace}", file=sys.stderr)
        return
    others = sorted(await store.indexed_workspaces())
    known = "; indexed are: " + ", ".join(others) if others else ""
    raise IndexingFailed(f"{store.workspace} has no index in Qdrant at {store.qdrant.url}{known}")


def _show(report: Report, args: argparse.Namespace) -> None:
    for warning in report.warnings:
        print(warning, file=sys.stderr)
    if args.verbose:
        for path, reason in report.left_out:
            print(f"{path}: {reason}; not indexed", file=sys.stderr)
    if args.json:
        shown = {name: value for name, value in asdict(report).items() if args.verbose or name != "left_out"}
        print(json.dumps(shown, ensure_ascii=False), flush=True)
    else:
        print(report.line(), flush=True)
