"""Keeps an index equal to its folder: index once, then again whenever files change.

Events are gathered for half a second; only what they name is looked at again: a file, or a folder with all that is
under it or was (everything when an ignore file changed). Ignored folders are not watched (on Linux); what is ignored
in others costs one question to git, or to our rules, and no run. When Qdrant or the service is away, what changed is
kept and tried again.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable

from embedserve.errors import IndexingFailed
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.events import Events
from embedserve.indexing.folders import folders
from embedserve.indexing.ignore import CLIENTS_FILES, Chosen
from embedserve.indexing.sync import Indexer, Report
from embedserve.indexing.walk import wanted

IGNORE_FILES = frozenset({".gitignore", *CLIENTS_FILES})


async def watch(indexer: Indexer, new_report: Callable[[], Report], done: Callable[[Report], None]) -> None:
    """Runs until cancelled. `done` is told of every run that changed something."""
    workspace = indexer.store.workspace
    events = Events(workspace, functools.partial(_folders, workspace, indexer.chosen), _is_ignore_file)
    opening = asyncio.ensure_future(in_daemon_thread(events.open))
    try:
        await asyncio.wait([opening])  # the first run must not read a file before changes of it are noticed
        left: set[str] | None = None
        while True:
            if left is None or left:
                await _attempt(indexer, report := new_report(), left)
                if report.complete:
                    left = set()
                if report.embedded or report.deleted or report.complete:
                    done(report)
            await opening  # a folder that cannot be watched is indexed all the same
            changed = await in_daemon_thread(events.wait)
            left = await in_daemon_thread(_add, left, changed, workspace, indexer.chosen)
    finally:
        events.close()
        opening.cancel()


def _folders(workspace: str, chosen: Chosen | None) -> set[str]:
    rules = os.path.join(".git", "info")  # of .git/info/exclude
    return folders(workspace, chosen) | ({rules} if os.path.isdir(os.path.join(workspace, rules)) else set())


def _add(left: set[str] | None, changed: set[str], workspace: str, chosen: Chosen | None) -> set[str] | None:
    """The paths to look at again, None for all of them."""
    if left is None or "." in changed or any(_is_ignore_file(path) for path in changed):
        return None
    return left | wanted(workspace, changed, chosen)


def _is_ignore_file(path: str) -> bool:
    return os.path.basename(path) in IGNORE_FILES or path.replace(os.sep, "/") == ".git/info/exclude"


async def _attempt(indexer: Indexer, report: Report, changed: set[str] | None) -> None:
    try:
        await indexer.sync(report, changed)
    except IndexingFailed as error:
        indexer.display.note(f"{error.message} (trying again)")
