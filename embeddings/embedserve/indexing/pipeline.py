"""Cuts, embeds and stores changed files, all at the same time and with bounded memory.

A producer reads and cuts files, a few ahead, and fills a short queue with batches of 60 texts; ten workers embed
them and store the points. A file is whole when all its other points are stored: then its first one is written,
with the file's record on it, and what was stored of an older version is deleted. What is held is the queue, the
files in work and the vectors of the texts seen last (a licence, a vendored copy: equal texts are embedded once).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from embedserve.indexing.chunk import Chunk, Cut, chunk_text
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.decode import NotText
from embedserve.indexing.embedder import BATCH, Embedder
from embedserve.indexing.lexical_sync import cutting_key
from embedserve.indexing.load import file_digest, load, read_bytes
from embedserve.indexing.plan import Changed
from embedserve.indexing.progress import Display
from embedserve.indexing.report import Report
from embedserve.indexing.spool import Spool
from embedserve.indexing.store import Store
from embedserve.indexing.stored import FileRecord, Point, Stored

CONCURRENCY = 10  # requests at a time, as the clients do
FILES_AHEAD = 16
MOVED_AT_ONCE = 250  # points whose vectors are fetched together
REMEMBERED = 4096  # vectors of texts seen last
DELETE_AT = 500

T = TypeVar("T")


def groups_of(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    return iter(lambda: list(islice(rest, size)), [])


@dataclass
class Cutting:
    """A file that was cut. `digest`: of its bytes, for its record."""

    digest: str
    chunks: list[Chunk]


@dataclass
class Work:
    """A changed file until it is stored as a whole. `open`: points besides the first that are still to be stored."""

    file: Changed
    record: FileRecord
    first: Chunk
    stale: list[str]
    open: int = 0
    head: Point | None = None


@dataclass
class Batch:
    """Chunks to embed, or (`moved`) chunks whose vectors are stored already under the same ids."""

    items: list[tuple[Work, Chunk]] = field(default_factory=list)
    moved: bool = False


class Pipeline:
    """One run over changed files. `stored_paths`: those that may have points (None: any may). `spool`: files that were
    cut already."""

    def __init__(
        self, store: Store, embedder: Embedder, display: Display, report: Report, key: str, window: int
    ) -> None:
        self.store, self.embedder, self.display, self.report = store, embedder, display, report
        self.key, self.window = key, window
        self.stored_paths: set[str] | None = None
        self.spool: Spool | None = None
        self._queue: asyncio.Queue[Batch | None] = asyncio.Queue(maxsize=2 * CONCURRENCY)
        self._whole: list[Work] = []  # files whose first point can be written
        self._stale: list[str] = []
        self._vectors: OrderedDict[str, Any] = OrderedDict()

    async def run(self, changed: Sequence[Changed]) -> None:
        """Raises IndexingFailed; what was stored until then is safe."""
        self.display.start("embedding", len(changed), sum(file.size for file in changed))
        tasks = [asyncio.ensure_future(self._produce(changed))]
        tasks += [asyncio.ensure_future(self._work()) for _ in range(CONCURRENCY)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._store([])
        await self._delete_stale(at_least=1)

    # --- the producer -------------------------------------------------------------------------------

    async def _produce(self, changed: Sequence[Changed]) -> None:
        new, moved = Batch(), Batch(moved=True)
        for files in groups_of(changed, FILES_AHEAD):
            paths = [file.path for file in files if self.stored_paths is None or file.path in self.stored_paths]
            stored = await self.store.stored(paths)
            for file, cutting in await in_daemon_thread(self._cut_all, files):
                if cutting is None:
                    continue
                for work, chunk, known in self._sorted_out(file, cutting, stored.get(file.path) or Stored()):
                    batch = moved if known else new
                    batch.items.append((work, chunk))
                    if len(new.items) == BATCH:
                        await self._queue.put(new)
                        new = Batch()
                    elif len(moved.items) == MOVED_AT_ONCE:
                        await self._queue.put(moved)
                        moved = Batch(moved=True)
        for batch in (new, moved):
            if batch.items:
                await self._queue.put(batch)
        for _ in range(CONCURRENCY):
            await self._queue.put(None)

    def _cut_all(self, files: Sequence[Changed]) -> list[tuple[Changed, Cutting | None]]:
        return [(file, self.cut(file)) for file in files]

    def cut(self, file: Changed) -> Cutting | None:
        """Read and cut one file; None, and a warning, where that failed: the run goes on without it."""
        try:
            data = read_bytes(self.store.workspace, file.relative)
            cut = self._cut_before(file, data)
            if cut is None:
                loaded = load(data, file.relative, file.language, self.key)
                cut = chunk_text(file.path, loaded.text, loaded.language, self.window, loaded.generated)
        except (FileNotFoundError, NotText):
            return None  # changed since it was looked at; the next run sees it
        except Exception as error:  # whatever is wrong with one file, the others are indexed
            self._warn(f"{file.path}: {type(error).__name__}: {error}; kept as it was indexed")
            return None
        if cut.fallback:
            self._warn(f"{file.path}: {cut.fallback}; cut along its paragraphs")
        return Cutting(file_digest(data, self.key), cut.chunks)

    def _cut_before(self, file: Changed, data: bytes) -> Cut | None:
        return self.spool.take(file.path, file_digest(data, cutting_key(self.window))) if self.spool else None

    def _warn(self, warning: str) -> None:
        self.report.fallback += 1
        self.report.warnings.append(warning)

    def _sorted_out(self, file: Changed, cutting: Cutting, stored: Stored) -> Iterator[tuple[Work, Chunk, bool]]:
        """The chunks that must be written: new ones, and ones whose place in the file or whose record changed."""
        if not cutting.chunks:
            self._stale.extend(stored.points)
            self.report.deleted += len(stored.points)
            return
        wanted = {chunk.id for chunk in cutting.chunks}
        stale = [point for point in stored.points if point not in wanted]
        record = FileRecord(cutting.digest, len(cutting.chunks))
        work = Work(file, record, cutting.chunks[0], stale)
        self.report.files += 1
        self.report.chunks += len(cutting.chunks)
        todo = []
        for chunk in cutting.chunks:
            known = stored.points.get(chunk.id)
            if known is None or known != chunk.payload() or chunk is work.first:
                todo.append((work, chunk, known is not None))
        work.open = len(todo) - 1
        yield from todo

    # --- the workers --------------------------------------------------------------------------------

    async def _work(self) -> None:
        while (batch := await self._queue.get()) is not None:
            chunks = [chunk for _work, chunk in batch.items]
            vectors = await (self._fetched(chunks) if batch.moved else self._embedded(chunks))
            points = []
            for (work, chunk), vector in zip(batch.items, vectors, strict=True):
                point = Point(chunk, vector)
                if chunk is work.first:
                    work.head = replace(point, record=work.record)
                    self._note_whole(work)
                else:
                    points.append(point)
            await self._store(points)
            for work, chunk in batch.items:
                if chunk is not work.first:
                    work.open -= 1
                    self._note_whole(work)
            self.report.stored += len(points)
            self.display.advance(0, sum(len(chunk.text) for chunk in chunks), batch.items[-1][0].file.path, len(chunks))

    def _note_whole(self, work: Work) -> None:
        if work.open == 0 and work.head is not None:
            self._whole.append(work)

    async def _store(self, points: list[Point]) -> None:
        """Write points, and the first points of the files that are whole with them."""
        whole, self._whole = self._whole, []
        heads = [work.head for work in whole if work.head is not None]
        await self.store.upsert([*points, *heads])
        self.report.stored += len(heads)
        for work in whole:
            self._stale.extend(work.stale)
            self.report.deleted += len(work.stale)
            self.display.advance(1, 0)
        await self._delete_stale(DELETE_AT)

    async def _delete_stale(self, at_least: int) -> None:
        if len(self._stale) >= at_least:
            stale, self._stale = self._stale, []
            await self.store.delete(stale)

    async def _fetched(self, chunks: Sequence[Chunk]) -> list[Any]:
        """Vectors that are stored already; those that went meanwhile are made again."""
        found = await self.store.vectors([chunk.id for chunk in chunks])
        missing = [chunk for chunk in chunks if chunk.id not in found]
        for chunk, vector in zip(missing, await self._embedded(missing), strict=True):
            found[chunk.id] = vector
        return [found[chunk.id] for chunk in chunks]

    async def _embedded(self, chunks: Sequence[Chunk]) -> list[Any]:
        """Vectors of the chunks' texts, equal texts made once."""
        texts: dict[str, str] = {}
        ready: dict[str, Any] = {}
        for chunk in chunks:
            if chunk.digest in self._vectors:
                self._vectors.move_to_end(chunk.digest)
                ready[chunk.digest] = self._vectors[chunk.digest]
            else:
                texts[chunk.digest] = chunk.embedded_text
        for digest, vector in (await self.store.known(list(texts))).items():
            ready[digest] = self._vectors[digest] = np.asarray(vector, dtype=np.float32)
            if texts.pop(digest, None) is not None:
                self.report.reused += 1
        for group in groups_of(texts.items(), BATCH):
            made = await self.embedder.embed([text for _digest, text in group])
            self.report.embedded += len(group)
            for (digest, _text), vector in zip(group, made, strict=True):
                ready[digest] = self._vectors[digest] = vector.copy()  # not the whole answer's array
        while len(self._vectors) > REMEMBERED:
            self._vectors.popitem(last=False)
        return [ready[chunk.digest] for chunk in chunks]
