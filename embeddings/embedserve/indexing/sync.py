"""Makes a workspace's collection equal to its folder, embedding only what is new.

Qdrant itself is the record of what was embedded; the lexical index keeps its own of what it has:

    1. walk the folder; bring the lexical index beside Qdrant up to date (`lexical_sync.py`): it needs no service
    2. probe the model, open the collection or refuse it (dimension, model, not ours)
    3. read the records of stored files (one point a file), hash the folder's files
    4. mark the index as incomplete; cut, embed and store what changed (`pipeline.py`)
    5. delete what is of no file of the folder any more; mark as complete

A file's record is written with its last point, its old points are deleted after that: a search finds a changed file
at any moment, and stopping anywhere leaves a valid index from which the next run goes on. Points of files that
could not be read are kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.fresh import caught_up
from embedserve.indexing.ignore import Chosen
from embedserve.indexing.lexical_sync import LexicalTask, fitted
from embedserve.indexing.pipeline import Pipeline
from embedserve.indexing.plan import Plan, make_plan
from embedserve.indexing.progress import Display
from embedserve.indexing.report import Report
from embedserve.indexing.spool import Spool
from embedserve.indexing.store import Store
from embedserve.indexing.stored import FileRecord, Recipe, Status
from embedserve.indexing.walk import Walk, walk
from embedserve.indexing.workspace import shown_path

__all__ = ["Indexer", "Report", "all_or_first_error"]


@dataclass
class Opened:
    """What is stored. `leftovers`: paths with points of files that have no record; None: not looked for."""

    status: Status
    recipe: Recipe
    records: dict[str, FileRecord | None]
    leftovers: dict[str, int]


@dataclass
class Planned:
    """`stored_paths`: those that may have points already; None: any may."""

    plan: Plan
    opened: Opened
    stored_paths: set[str] | None


class Indexer:
    """Indexes one workspace, once or again and again. `lexicon`: the file of its lexical index; None: it has none."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        display: Display,
        chosen: Chosen | None = None,
        lexicon: str | None = None,
    ) -> None:
        self.chosen = chosen
        self.lexicon = lexicon
        self.store = store
        self.embedder = embedder
        self.display = display
        self._stop = threading.Event()
        self._spool: Spool | None = None

    async def sync(self, report: Report, changed: set[str] | None = None) -> None:
        """Index what changed. `changed`: the only paths (files, or folders with all that is under them) that need to be
        looked at; None: all of them.

        Fills in `report` as it goes, so that it is right when this raises or is cancelled.
        """
        began = time.monotonic()
        self._stop.clear()
        self._spool = Spool(os.path.dirname(self.lexicon)) if self.lexicon else None
        try:
            await self._write(report, await self.plan(report, changed))
            report.complete = True
            caught_up(self.lexicon)
        finally:
            self._stop.set()
            if self._spool:
                self._spool.close()
            report.seconds = time.monotonic() - began

    async def plan(self, report: Report, changed: set[str] | None = None) -> Planned:
        """What there is to do; words are found already. Raises IndexingFailed."""
        found = await in_daemon_thread(self._walk, changed)
        window = await self._lexical(report, found, changed, await self._expected_window())
        opened = await self._open(report, changed)
        await self._lexical(report, found, changed, opened.recipe.max_tokens, window)
        plan = await in_daemon_thread(
            make_plan,
            self.store.workspace,
            found,
            opened.records,
            opened.leftovers,
            opened.recipe.key,
            self.display,
            self._stop,
        )
        self._note(report, opened, found, plan, changed is None)
        if changed is None and plan.gone and not (plan.changed or plan.unchanged or plan.kept):
            raise IndexingFailed(
                f"{self.store.workspace} has no file to index now, but its index has points; they were kept. "
                "Is a disk not mounted? Delete them with: embedserve index --delete " + self.store.workspace
            )
        return Planned(plan, opened, {*opened.records, *opened.leftovers} if changed is None else None)

    def _walk(self, changed: set[str] | None) -> Walk:
        return walk(self.store.workspace, changed, self.chosen)

    async def _expected_window(self) -> int | None:
        """What the service says of itself before it is waited for; None: nothing."""
        if not self.lexicon or self.embedder.dimension:
            return fitted(self.embedder.window) if self.embedder.dimension else None
        window = await self.embedder.told_window()
        return None if window is None else fitted(window)

    async def _lexical(
        self, report: Report, found: Walk, changed: set[str] | None, window: int | None, done: int | None = None
    ) -> int | None:
        """Words are found from here on. `done`: the window that it was brought up to date for already. Gives the window
        that files were cut for. What goes wrong is a warning: vectors can be had without it."""
        if not self.lexicon or (window is not None and window == done):
            return window
        began = time.monotonic()
        self.display.start("reading words", len(found.files))
        chosen = json.dumps(self.chosen.given) if self.chosen and self.chosen.given else ""
        task = LexicalTask(
            self.lexicon, self.store.workspace, self._walk, window, self._stop, self._read, chosen, spool=self._spool
        )
        try:
            refreshed = await in_daemon_thread(task.run, found, changed)
        except IndexingFailed as error:
            report.warnings.append(error.message)
            return window
        report.words_seconds += time.monotonic() - began
        return refreshed.window

    def _read(self, path: str) -> None:
        self.display.advance(1, 0, path)

    async def _open(self, report: Report, changed: set[str] | None) -> Opened:
        if not self.embedder.dimension:
            await self.embedder.probe()
        report.model, report.dimension = str(self.embedder.model), self.embedder.dimension
        recipe = Recipe(report.model, report.dimension, fitted(self.embedder.window))
        status = await self.store.prepare(recipe)
        if not status.points:
            return Opened(status, recipe, {}, {})
        records = await self.store.records(None if changed is None else sorted(changed))
        leftovers: dict[str, int] = {}
        if changed is None and not (status.complete and status.chunks == status.points):
            leftovers = await self.store.paths()
            records = {
                path: record
                for path, record in records.items()
                if record is not None and leftovers.get(path) == record.chunks
            }
        return Opened(status, recipe, records, leftovers)

    def _note(self, report: Report, opened: Opened, found: Walk, plan: Plan, everything: bool) -> None:
        report.changed = len(plan.changed)
        report.generated = plan.generated
        report.skipped, report.unknown, report.warnings = dict(plan.skipped), dict(found.unknown), found.warnings
        report.left_out = [(shown_path(path), reason) for path, reason in found.left_out]
        before = {path: record.chunks for path, record in opened.records.items() if record}
        if everything:
            report.files, report.chunks = len(plan.unchanged), sum(plan.unchanged.values())
            return
        touched = [path for path in before if path not in plan.unchanged]
        report.files = opened.status.files - len(touched)
        report.chunks = opened.status.chunks - sum(before[path] for path in touched)

    async def _write(self, report: Report, planned: Planned) -> None:
        if not await self.begin(planned):
            return
        recipe = planned.opened.recipe
        pipeline = Pipeline(self.store, self.embedder, self.display, report, recipe.key, recipe.max_tokens)
        pipeline.stored_paths, pipeline.spool = planned.stored_paths, self._spool
        began = time.monotonic()
        try:
            await pipeline.run(planned.plan.changed)
        finally:
            report.embed_seconds = time.monotonic() - began
        await self.finish(report, planned)

    async def begin(self, planned: Planned) -> bool:
        """Mark the index as incomplete; False: it is equal to the folder already."""
        plan, marked, recipe = planned.plan, planned.opened.status, planned.opened.recipe
        if not plan.changed and not plan.gone and marked.complete and marked.recipe == recipe:
            return False
        await self.store.mark(False, recipe, marked.files, marked.chunks)
        return True

    async def finish(self, report: Report, planned: Planned) -> None:
        """Every changed file is stored: take out what is of no file any more, and mark the index as complete."""
        opened, gone = planned.opened, planned.plan.gone
        await self.store.delete_files(gone)
        report.deleted += sum(
            record.chunks if (record := opened.records.get(path)) else opened.leftovers.get(path, 0) for path in gone
        )
        await self.store.mark(True, opened.recipe, report.files, report.chunks)


async def all_or_first_error(coroutines: Iterable[Any]) -> None:
    """Run together; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
