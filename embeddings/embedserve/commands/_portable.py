"""`embedserve index export FILE [PATH]` and `embedserve index import FILE [PATH]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING

from embedserve.commands._repository import check_named, named
from embedserve.commands._search_options import connection

if TYPE_CHECKING:
    from embedserve.indexing.progress import Display
    from embedserve.indexing.sync import Report


def run_export(args: argparse.Namespace, file: str, workspace: str) -> int:
    from embedserve.indexing.portable import Exported, export

    async def main() -> Exported:
        async with connection(args).open(workspace) as (store, _embedder):
            return await export(store, file)

    done = asyncio.run(main())
    print(f"{file}: {done.chunks} vectors of {done.files} files; only who has a file's text can read its vectors")
    if done.left_out:
        print(
            f"{done.left_out} indexed files are not in it: they changed since; run `embedserve index` first",
            file=sys.stderr,
        )
    return 0


async def import_into(args: argparse.Namespace, file: str, report: Report, display: Display) -> str:
    """Index the report's workspace with what the file has; gives a line for a person."""
    from embedserve.indexing.daemon import in_daemon_thread
    from embedserve.indexing.ignore import Chosen
    from embedserve.indexing.portable import ReusingEmbedder
    from embedserve.indexing.sealed import SealedIndex
    from embedserve.indexing.sync import Indexer

    where = named(connection(args), report.workspace)
    sealed = SealedIndex(file)
    try:
        async with where.open(report.workspace, waiting=display.note) as (store, service):
            await check_named(where, store, args.repository)
            embedder = ReusingEmbedder(service, sealed)
            try:
                await embedder.probe()
                files = await in_daemon_thread(embedder.look_up, report.workspace)
                chosen = Chosen(args.include, args.exclude)
                await Indexer(store, embedder, display, chosen, where.lexicon_path(report.workspace)).sync(report)
            finally:
                report.embedded -= embedder.reused
                await embedder.close()
    finally:
        sealed.close()
    return f"{embedder.reused} vectors reused from {file} ({files} of this folder's files are in it)"
