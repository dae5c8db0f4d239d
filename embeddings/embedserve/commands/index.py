"""`embedserve index PATH ..`: make the index of folders equal to the folders, once or on every change.

A PATH may be a git URL or a package archive: it is had first (`indexing/obtain.py`).

`embedserve index export FILE` and `import FILE` carry an index to another machine (`_portable.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from embedserve.commands._repository import check_named, named
from embedserve.commands._search_options import add_connection_options, add_shared_options, connection
from embedserve.errors import IndexingFailed

if TYPE_CHECKING:
    from embedserve.indexing.progress import Display
    from embedserve.indexing.store import Store
    from embedserve.indexing.sync import Report


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="folders to index (the current one), git URLs (with #branch), package archives (a path or a URL). "
        "Or: export FILE [PATH], to write the vectors of an index to a file. "
        "Or: import FILE [PATH], to index with the vectors of such a file and to embed only the rest",
    )
    parser.add_argument("--workspace", metavar="PATH", action="append", default=[], help="the same as PATH")
    add_connection_options(parser)
    add_shared_options(parser, "what the folder is called in --collection (its git remote, else the folder's name)")
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
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="many folders at once on Ray, without the service: `auto` or ray://HOST:PORT of a cluster that sees the "
        "folders, `local` to start one here (the extra `scale`)",
    )
    parser.add_argument("--ray-actors", type=int, default=1, metavar="N", help="model processes on Ray (1)")
    parser.add_argument("--ray-cpus", type=int, default=1, metavar="N", help="cores of each (1)")
    parser.add_argument("--verbose", action="store_true", help="name each file that is not indexed, and why")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    from embedserve.commands._portable import run_export
    from embedserve.commands._sources import local
    from embedserve.indexing.workspace import existing_workspace, workspace_path

    paths = list(args.paths)
    what = paths[0] if len(paths) > 1 and paths[0] in ("export", "import") else ""
    file = paths[1] if what else ""
    paths = (paths[2:] if what else paths) + args.workspace
    if what and (len(paths) > 1 or args.watch or args.recreate or args.delete):
        raise IndexingFailed(f"{what} takes FILE and one PATH, and no other action")
    reading = args.delete or what == "export"
    checked = workspace_path if reading else existing_workspace
    home = connection(args).home
    workspaces = list(dict.fromkeys(checked(local(path, home, fresh=not reading)) for path in paths or ["."]))
    if len(args.repository) > 1 or (args.repository and len(workspaces) > 1):
        raise IndexingFailed("--repository names one folder's index: give one name and one folder")
    if what == "export" and args.collection:
        raise IndexingFailed("export takes a folder's own index; to move one: embedserve collections copy")
    if what == "export":
        return run_export(args, file, workspaces[0])
    if args.ray:
        from embedserve.commands._bulk import run_bulk

        return run_bulk(args, workspaces)
    if args.watch and len(workspaces) > 1:
        return asyncio.run(_watch_all(args, workspaces))
    return next((code for workspace in workspaces if (code := _index(args, workspace, file))), 0)


def _index(args: argparse.Namespace, workspace: str, file: str = "") -> int:
    """Index one folder, with the vectors of an export where one is given; the exit code."""
    from embedserve.commands._portable import import_into
    from embedserve.indexing.progress import Display
    from embedserve.indexing.sync import Report
    from embedserve.indexing.workspace import collection_name

    report = Report(workspace, args.collection or collection_name(workspace))
    note = ""
    try:
        with Display() as display:
            if file:
                note = asyncio.run(import_into(args, file, report, display))
            else:
                asyncio.run(_main(args, report, display))
    except KeyboardInterrupt:
        print(report.line(), file=sys.stderr)
        return 130
    except BaseException:
        if report.stored:
            print(report.line(), file=sys.stderr)
        raise
    if note:
        print(note, file=sys.stderr)
    if not (args.delete or args.watch):
        _show(report, args)
    return 0


async def _watch_all(args: argparse.Namespace, workspaces: list[str]) -> int:
    """Several folders at a time: each says in lines, without a bar, what it did."""
    from embedserve.indexing.progress import Display
    from embedserve.indexing.sync import Report, all_or_first_error
    from embedserve.indexing.workspace import collection_name

    display = Display(quiet=True)
    reports = [Report(workspace, args.collection or collection_name(workspace)) for workspace in workspaces]
    await all_or_first_error(_main(args, report, display) for report in reports)
    return 0


async def _main(args: argparse.Namespace, report: Report, display: Display) -> None:
    from embedserve.indexing.ignore import Chosen
    from embedserve.indexing.lexical import drop_lexicon
    from embedserve.indexing.sync import Indexer, Report

    where = named(connection(args), report.workspace)
    lexicon = where.lexicon_path(report.workspace)
    async with where.open(report.workspace, waiting=display.note) as (store, embedder):
        await check_named(where, store, args.repository)
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
        print(f"deleted the index of {store.title}", file=sys.stderr)
        return
    others = sorted(await store.indexed_workspaces())
    known = "; indexed are: " + ", ".join(others) if others else ""
    raise IndexingFailed(f"{store.title} has no index in Qdrant at {store.qdrant.url}{known}")


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
        place = f"{report.workspace}: " if len(args.paths) + len(args.workspace) > 1 else ""
        print(place + report.line(), flush=True)
