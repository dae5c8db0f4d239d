"""Makes a workspace's collection equal to its folder, embedding only what is new.

Qdrant itself is the record of what was indexed; there is no state beside it that could disagree:

    1. probe the model, open the collection or refuse it (dimension, model)
    2. read the ids and text digests of all points
    3. walk and cut the folder; a chunk whose id and digest are known is left alone
    4. mark the index as incomplete, embed and upsert the others (10 requests of 60 texts at a time)
    5. delete the points that are no chunk of the folder any more; mark as complete

New points are written before old ones are deleted, so a search finds a changed file at any moment; ids are made
from content, so a write can be repeated. Stopping anywhere leaves a valid index, and the next run does
what is left. Points of files that could not be read are kept.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import Chunk, NotText, chunk_file, digest
from embedserve.indexing.embedder import BATCH, Embedder
from embedserve.indexing.progress import Display
from embedserve.indexing.store import Known, Store
from embedserve.indexing.walk import Walk, walk
from embedserve.indexing.workspace import shown_path

CONCURRENCY = 10  # requests at a time, as the clients do


@dataclass
class Report:
    """What one run did; `complete` says whether it came to its end."""

    workspace: str
    collection: str
    model: str = ""
    dimension: int = 0
    files: int = 0
    chunks: int = 0
    pending: int = 0  # chunks that had to be embedded
    embedded: int = 0
    deleted: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    embed_seconds: float = 0.0
    complete: bool = False

    def line(self) -> str:
        """One line for a person."""
        if not self.complete:
            return (
                f"stopped: {self.embedded} of {self.pending} new chunks are stored and safe; "
                "run the same command again to go on"
            )
        rate = f" ({self.embedded / self.embed_seconds:.0f} texts/s)" if self.embedded and self.embed_seconds else ""
        skipped = ", ".join(f"{count} {reason}" for reason, count in sorted(self.skipped.items()))
        return (
            f"{self.files} files, {self.chunks} chunks: {self.embedded} embedded{rate}, "
            f"{self.chunks - self.pending} unchanged, {self.deleted} deleted; {self.seconds:.1f} s"
            + (f"; skipped: {skipped}" if skipped else "")
        )


@dataclass
class Plan:
    """What a look at the folder gave. `files`: path -> {id: digest} as it is to be."""

    files: Known = field(default_factory=dict)
    pending: list[Chunk] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class Indexer:
    """Indexes one workspace, once or again and again. `known` is what the collection holds."""

    def __init__(self, store: Store, embedder: Embedder, display: Display) -> None:
        self.store = store
        self.embedder = embedder
        self.display = display
        self.known: Known | None = None
        self._stop = threading.Event()

    async def sync(self, report: Report, changed: set[str] | None = None) -> None:
        """Index what changed. `changed`: the only paths that need to be read again (None: all of them).

        Fills in `report` as it goes, so that it is right when this raises or is cancelled.
        """
        began = time.monotonic()
        try:
            await self._open(report)
            assert self.known is not None
            plan = await self._plan(report, self.known, changed)
            stale = _stale(self.known, plan)
            if stale and not plan.files and not plan.unreadable:
                raise IndexingFailed(
                    f"{self.store.workspace} has no file to index now, but its index has points; they were kept. "
                    "Is a disk not mounted? Delete them with: embedserve index --delete " + self.store.workspace
                )
            await self._write(report, self.known, plan, stale)
            report.complete = True
        finally:
            self._stop.set()
            report.seconds = time.monotonic() - began

    async def _open(self, report: Report) -> None:
        await self.embedder.probe()
        report.model, report.dimension = str(self.embedder.model), self.embedder.dimension
        created = await self.store.prepare(report.dimension, report.model)
        if created:
            self.known = {}
        elif self.known is None:
            self.known = await self.store.known()

    async def _plan(self, report: Report, known: Known, changed: set[str] | None) -> Plan:
        self._stop.clear()
        plan = await asyncio.to_thread(self._look, report, known, changed)
        report.pending = len(plan.pending)
        report.chunks = sum(len(ids) for ids in plan.files.values())
        return plan

    def _look(self, report: Report, known: Known, changed: set[str] | None) -> Plan:
        """Walk and cut; runs in a thread, and gives up when the run was cancelled."""
        found, plan = walk(self.store.workspace), Plan()
        self.display.start("reading", len(found.files))
        for relative in found.files:
            if self._stop.is_set():
                break
            self._look_at(relative, found, plan, known, changed)
            self.display.advance(1, "files")
        plan.unreadable = [shown_path(path) for path in found.unreadable]
        report.files = len(plan.files)
        report.skipped, report.warnings = dict(found.skipped), found.warnings
        return plan

    def _look_at(self, relative: str, found: Walk, plan: Plan, known: Known, changed: set[str] | None) -> None:
        shown = shown_path(relative)
        if changed is not None and relative not in changed and shown in known:
            plan.files[shown] = known[shown]
            return
        if shown != relative:
            found.warnings.append(f"{shown}: the name is not UTF-8; indexed under this name")
        try:
            chunks = chunk_file(self.store.workspace, relative)
        except NotText:
            found.skipped["binary"] += 1
            return
        except FileNotFoundError:
            return  # removed since the walk
        except OSError as error:
            found.cannot_read(relative, error)
            return
        old = known.get(shown, {})
        new = {chunk.id: digest(chunk.text) for chunk in chunks}
        plan.files[shown] = new
        plan.pending.extend(chunk for chunk in chunks if old.get(chunk.id) != new[chunk.id])

    async def _write(self, report: Report, known: Known, plan: Plan, stale: dict[str, list[str]]) -> None:
        marked = await self.store.status()
        if not plan.pending and not stale and marked and marked.complete and marked.model == report.model:
            return
        await self.store.mark(False, report.dimension, report.model)
        began = time.monotonic()
        try:
            await self._embed(report, known, plan.pending)
        finally:
            report.embed_seconds = time.monotonic() - began
        ids = [point for points in stale.values() for point in points]
        await self.store.delete(ids)
        for path, points in stale.items():
            for point in points:
                del known[path][point]
            if not known[path]:
                del known[path]
        report.deleted = len(ids)
        await self.store.mark(True, report.dimension, report.model)

    async def _embed(self, report: Report, known: Known, pending: list[Chunk]) -> None:
        self.display.start("embedding", len(pending))
        batches = _batches(pending, BATCH)

        async def work() -> None:
            for batch in batches:  # shared by all workers
                vectors = await self.embedder.embed([chunk.embedded_text for chunk in batch])
                await self.store.upsert(batch, vectors)
                for chunk in batch:
                    known.setdefault(chunk.path, {})[chunk.id] = digest(chunk.text)
                report.embedded += len(batch)
                self.display.advance(len(batch), "texts")

        await all_or_first_error([work() for _ in range(CONCURRENCY)])


async def all_or_first_error(coroutines: Iterable[Any]) -> None:
    """Run together; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _batches(chunks: list[Chunk], size: int) -> Any:
    rest = iter(chunks)
    return iter(lambda: list(islice(rest, size)), [])


def _stale(known: Known, plan: Plan) -> dict[str, list[str]]:
    """Points to delete, by path: those that are no chunk of the folder now. What could not be read is kept."""
    kept = tuple(path.rstrip(os.sep) + os.sep if path else "" for path in plan.unreadable)
    stale: dict[str, list[str]] = {}
    for path, points in known.items():
        if (path + os.sep).startswith(kept) and kept:
            continue
        wanted = plan.files.get(path, {})
        if gone := [point for point in points if point not in wanted]:
            stale[path] = gone
    return stale
