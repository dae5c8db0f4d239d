"""Keeps an index equal to its folder: index once, then again whenever files change.

Events are gathered for half a second; only what they name is looked at again: a file, or a folder with all that is
under it or was (everything when an ignore file changed). What is ignored costs one question to git, or to our rules,
and no run. When Qdrant or the service is away, what changed is kept and tried again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from watchfiles import Change, awatch

from embedserve.errors import IndexingFailed, SetupError
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.ignore import CLIENTS_FILES
from embedserve.indexing.sync import Indexer, Report
from embedserve.indexing.walk import wanted

RETRY_MS = 10_000
Changes = set[tuple[Change, str]]
IGNORE_FILES = frozenset({".gitignore", *CLIENTS_FILES})


async def watch(indexer: Indexer, new_report: Callable[[], Report], done: Callable[[Report], None]) -> None:
    """Runs until cancelled. `done` is told of every run that changed something."""
    workspace = indexer.store.workspace
    changes = awatch(
        workspace,
        watch_filter=None,
        debounce=500,
        rust_timeout=RETRY_MS,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    upcoming = asyncio.ensure_future(_next(changes, workspace))  # watches already while the first run goes on
    try:
        left: set[str] | None = None
        while True:
            if left is None or left:
                await _attempt(indexer, report := new_report(), left)
                if report.complete:
                    left = set()
                if report.embedded or report.deleted or report.complete:
                    done(report)
            changed = {os.path.relpath(path, workspace) for _kind, path in await upcoming}
            left = await in_daemon_thread(_add, left, changed, workspace)
            upcoming = asyncio.ensure_future(_next(changes, workspace))
    finally:
        upcoming.cancel()


async def _next(changes: AsyncIterator[Changes], workspace: str) -> Changes:
    try:
        return await anext(changes)
    except OSError as error:  # ignored folders are watched too, and node_modules alone can be over the limit
        hint = "; on Linux: sudo sysctl fs.inotify.max_user_watches=1048576" if "limit" in str(error) else ""
        raise SetupError(f"cannot watch {workspace}: {error}{hint}; without --watch it can be indexed") from error


def _add(left: set[str] | None, changed: set[str], workspace: str) -> set[str] | None:
    """The paths to look at again, None for all of them."""
    if left is None or "." in changed or any(_is_ignore_file(path) for path in changed):
        return None
    return left | wanted(workspace, changed)


def _is_ignore_file(path: str) -> bool:
    return os.path.basename(path) in IGNORE_FILES or path.replace(os.sep, "/") == ".git/info/exclude"


async def _attempt(indexer: Indexer, report: Report, changed: set[str] | None) -> None:
    try:
        await indexer.sync(report, changed)
    except IndexingFailed as error:
        indexer.display.note(f"{error.message} (trying again)")
