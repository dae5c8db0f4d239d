"""Makes a workspace's collection equal to its folder, embedding only what is new.

Qdrant itself is the record of what was indexed; there is no state beside it that could disagree:

    1. probe the model, open the collection or refuse it (dimension, model, not ours)
    2. read the records of stored files (one point a file), walk the folder, hash its files
    3. mark the index as incomplete; cut, embed and store what changed (`pipeline.py`)
    4. delete what is of no file of the folder any more; mark as complete

A file's record is written with its last point, its old points are deleted after that: a search finds a changed file
at any moment, and stopping anywhere leaves a valid index from which the next run goes on. Points of files that
could not be read are kept.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import Chunk
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.ignore import Chosen
from embedserve.indexing.pipeline import Pipeline
from embedserve.indexing.plan import Plan, make_plan
from embedserve.indexing.progress import Display
from embedserve.indexing.report import Report
from embedserve.indexing.store import FileRecord, Recipe, Status, Store
from embedserve.indexing.text import MAX_CHARS
from embedserve.indexing.walk import Walk, walk
from embedserve.indexing.workspace import shown_path

__all__ = ["ChunkSink", "Indexer", "Report", "all_or_first_error"]


class ChunkSink(Protocol):
    """A second index of the same chunks, such as a lexical one. It is told of every new and changed file before any
    vector is made, and of what is gone; called from a thread, one call at a time."""

    def replace(self, path: str, digest: str, chunks: Sequence[Chunk]) -> None: ...

    def remove(self, path: str) -> None: ...

    def commit(self) -> None: ...


@dataclass
class _Opened:
    """What is stored. `leftovers`: paths with points of files that have no record; None: not looked for."""

    status: Status
    recipe: Recipe
    records: dict[str, FileRecord | None]
    leftovers: dict[str, int]


class Indexer:
    """Indexes one workspace, once or again and again."""

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        display: Display,
        sink: ChunkSink | None = None,
        chosen: Chosen | None = None,
    ) -> None:
        self.chosen = chosen
        self.store = store
        self.embedder = embedder
        self.display = display
        self.sink = sink
        self._stop = threading.Event()

    async def sync(self, report: Report, changed: set[str] | None = None) -> None:
        """Index what changed. `changed`: the only paths (files, or folders with all that is under them) that need to be
        looked at; None: all of them.

        Fills in `report` as it goes, so that it is right when this raises or is cancelled.
        """
        began = time.monotonic()
        self._stop.clear()
        try:
            opened = await self._open(report, changed)
            found = await in_daemon_thread(self._walk, changed)
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
            await self._write(report, opened, plan, found, changed is None)
            report.complete = True
        finally:
            self._stop.set()
            report.seconds = time.monotonic() - began

    def _walk(self, changed: set[str] | None) -> Walk:
        return walk(self.store.workspace, changed, self.chosen)

    async def _open(self, report: Report, changed: set[str] | None) -> _Opened:
        if not self.embedder.dimension:
            await self.embedder.probe()
        report.model, report.dimension = str(self.embedder.model), self.embedder.dimension
        window = self.embedder.window if 0 < self.embedder.window < MAX_CHARS else 0
        recipe = Recipe(report.model, report.dimension, window)
        status = await self.store.prepare(recipe)
        if not status.points:
            return _Opened(status, recipe, {}, {})
        records = await self.store.records(None if changed is None else sorted(changed))
        leftovers: dict[str, int] = {}
        if changed is None and not (status.complete and status.chunks == status.points):
            leftovers = await self.store.paths()
            records = {
                path: record
                for path, record in records.items()
                if record is not None and leftovers.get(path) == record.chunks
            }
        return _Opened(status, recipe, records, leftovers)

    def _note(self, report: Report, opened: _Opened, found: Walk, plan: Plan, everything: bool) -> None:
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

    async def _write(self, report: Report, opened: _Opened, plan: Plan, found: Walk, everything: bool) -> None:
        marked, recipe = opened.status, opened.recipe
        if not plan.changed and not plan.gone and marked.complete and marked.recipe == recipe:
            return
        await self.store.mark(False, recipe, marked.files, marked.chunks)
        pipeline = Pipeline(self.store, self.embedder, self.display, report, recipe.key, recipe.max_tokens)
        pipeline.stored_paths = {*opened.records, *opened.leftovers} if everything else None
        if self.sink:
            await in_daemon_thread(self._feed, plan, pipeline, self.sink)
        began = time.monotonic()
        try:
            await pipeline.run(plan.changed)
        finally:
            report.embed_seconds = time.monotonic() - began
        await self.store.delete_files(plan.gone)
        report.deleted += sum(
            record.chunks if (record := opened.records.get(path)) else opened.leftovers.get(path, 0)
            for path in plan.gone
        )
        await self.store.mark(True, recipe, report.files, report.chunks)

    def _feed(self, plan: Plan, pipeline: Pipeline, sink: ChunkSink) -> None:
        """The first pass: every changed file's chunks into the sink, before there is any vector."""
        for path in plan.gone:
            sink.remove(path)
        self.display.start("cutting", len(plan.changed))
        for file in plan.changed:
            if self._stop.is_set():
                return
            if (cut := pipeline.cut(file)) is not None:
                sink.replace(file.path, cut.digest, cut.chunks)
            self.display.advance(1, 0, file.path)
        sink.commit()


async def all_or_first_error(coroutines: Iterable[Any]) -> None:
    """Run together; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
