"""One collection: its reads, its writes in order, and the swap to a copy with an index.

On disk, `meta.json` names the collection, its settings and the folder of its live shard; it is only ever replaced
whole, so it is the one truth after a crash, and any other folder is rubbish of a build that did not end.

    <collection>/meta.json
    <collection>/<generation>/      the live shard (Qdrant Edge's files)
    <collection>/<generation>/      at times, a copy in which a child process builds the index

Writes go one after the other through `_writing`. Reads need no lock, but a shard that has been replaced is closed
only when its last reader is done. All bookkeeping happens on the event loop, the work in threads.

Building an index:
1. Under the lock: flush, copy the shard's files, begin to note the ids of all points that are written (`_touched`).
2. A child process optimises the copy. Reads and writes go on here, and are durable here.
3. Catch up: for the ids touched so far, copy their present state (or absence) from the live shard. Repeat while many
   come in, the last time under the lock. Then flush, point `meta.json` to the copy, use it, delete the old one.

Noting ids rather than operations keeps memory small and the order irrelevant. A filter is resolved to ids before it
deletes. A crash at any point leaves either the old shard, complete, or the new one, complete.

Adding or removing a named vector changes the shard's files and `meta.json`, and Qdrant Edge opens no shard whose files
and settings differ. So the new settings are written down as `next` before the shard is changed, and `open` completes
a change that a crash has cut short. No index is built meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import qdrant_edge as edge

from embedserve.vectordb import hnsw_build
from embedserve.vectordb.errors import ApiError, no_collection, no_point, of_engine
from embedserve.vectordb.files import check_space, disk_size, replace_json, sync_files
from embedserve.vectordb.ids import PointId, plain_id
from embedserve.vectordb.marks import META, mark, remove, remove_generation
from embedserve.vectordb.named_vectors import vector_operations
from embedserve.vectordb.payload_indexes import index_from_shown
from embedserve.vectordb.schema import edge_config
from embedserve.vectordb.threads import Kind, in_thread, run
from embedserve.vectordb.updates import Change
from embedserve.vectordb.vectors import Space, space_of

T = TypeVar("T")
_CATCH_UP_BATCH = 500
_CATCH_UP_ROUNDS = 20


class Generation:
    """An open shard with the number of reads in it."""

    def __init__(self, path: Path, shard: edge.EdgeShard) -> None:
        self.path = path
        self.shard = shard
        self.idle = asyncio.Event()
        self.idle.set()
        self._readers = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[edge.EdgeShard]:
        self._readers += 1
        self.idle.clear()
        try:
            yield self.shard
        finally:
            self._readers -= 1
            if not self._readers:
                self.idle.set()

    async def close(self) -> None:
        await self.idle.wait()
        await in_thread(self.shard.close)


class Collection:
    """Made by `create` or `open`; the name never changes."""

    def __init__(self, folder: Path, meta: dict[str, Any], generation: Generation, reserve: int) -> None:
        self.folder = folder
        self.name: str = meta["name"]
        self.config: dict[str, Any] = meta["config"]
        self._next: dict[str, Any] | None = meta.get("next")
        self.space: Space = space_of(self.config["params"])
        self.indexes: dict[str, dict[str, Any]] = meta["indexes"]
        self.operations = 0
        self.changed = 0  # points written or deleted since the last build
        self.indexed = 0  # points that the index had after the last build
        self.unflushed = False
        self.build_error: str | None = None
        self._generation = generation
        self._reserve = reserve
        self._writing = asyncio.Lock()
        self._building = asyncio.Lock()
        self._touched: set[PointId] | None = None
        self._dropped = False

    @classmethod
    def create(cls, folder: Path, name: str, config: dict[str, Any], reserve: int) -> Collection:
        """Blocking. The collection exists once its meta.json does."""
        check_space(folder.parent, reserve)
        path = folder / _new_name()
        folder.mkdir()
        mark(folder)
        path.mkdir()
        try:
            generation = Generation(path, edge.EdgeShard.create(str(path), edge_config(config)))
            meta = {"name": name, "config": config, "indexes": {}, "generation": path.name}
            replace_json(folder / META, meta)
        except BaseException:
            remove(folder, f"collection {name} could not be made")
            raise
        return cls(folder, meta, generation, reserve)

    @classmethod
    def open(cls, folder: Path, meta: dict[str, Any], reserve: int) -> Collection:
        """Blocking. Deletes what an unfinished build left."""
        for other in folder.iterdir():
            if other.is_dir() and other.name != meta["generation"]:
                remove_generation(other, f"left by an unfinished build of collection {meta['name']}")
        path = folder / meta["generation"]
        collection = cls(folder, meta, Generation(path, _load_either(path, meta)), reserve)
        if collection._next is not None:
            collection._finish_vectors()
        points = collection._count()
        collection.changed = max(0, points - collection.indexed)
        return collection

    async def read(self, work: Callable[[edge.EdgeShard], T]) -> T:
        """`work` on the live shard, in a thread for reads."""
        self._check_exists()
        with self._generation.reading() as shard:
            return await run(Kind.READ, partial(work, shard))

    async def apply(self, changes: list[Change]) -> list[int]:
        """Make the changes in order, under one lock; their operation numbers. A failed one ends it."""
        async with self._writing:
            self._check_exists()
            if any(change.grows for change in changes):
                check_space(self.folder, self._reserve)
            numbers = []
            for change in changes:
                ids = await run(Kind.WRITE, partial(_ids, self._generation.shard, change))
                async with self._noted(ids) as shard:
                    for operation in change.make(ids) if ids else []:
                        await run(Kind.WRITE, partial(shard.update, operation))
                numbers.append(self.operations)
            return numbers

    async def reconfigure(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Keep the settings that `change` makes of the present ones; those of the index hold for the next build,
        which is due then."""
        async with self._write([], grows=False):
            config = change(self.config)
            rebuild = config["hnsw_config"] != self.config["hnsw_config"]
            self.config = config
            await in_thread(self._save, self._generation)
            if rebuild:
                self.changed = max(self.changed, self.indexed)

    async def change_vectors(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
        """Add or remove named vectors: `change` makes the new settings of the present ones. Waits for the end of an
        index build, which knows the present vectors only."""
        async with self._building, self._write([], grows=True):
            if self._next is not None:
                await in_thread(self._finish_vectors)  # of a change that ended in an error
            config = change(self.config)
            if config != self.config:
                self._next = config
                await in_thread(self._finish_vectors)
        return self.operations

    def _finish_vectors(self) -> None:
        """Blocking. May be repeated: making a vector that is there and removing one that is not change nothing."""
        live, config = self._generation, self._next
        assert config is not None
        self._save(live)
        try:
            for operation in vector_operations(self.config["params"], config["params"]):
                live.shard.update(operation)
        except Exception as error:
            if isinstance(of_engine(error), ApiError):  # refused, and nothing was changed: not to be completed later
                self._next = None
                self._save(live)
            raise
        live.shard.flush()
        self.config, self._next = config, None
        self.space = space_of(config["params"])
        self._save(live)

    async def create_index(self, field: str, shown: dict[str, Any], native: Any) -> int:
        async with self._write([], grows=True) as shard:
            await in_thread(shard.update, edge.UpdateOperation.create_field_index(field, native))
            self.indexes[field] = shown
            await in_thread(self._save, self._generation)
        return self.operations

    async def delete_index(self, field: str) -> int:
        async with self._write([], grows=False) as shard:
            await in_thread(shard.update, edge.UpdateOperation.delete_field_index(field))
            self.indexes.pop(field, None)
            await in_thread(self._save, self._generation)
        return self.operations

    @contextlib.asynccontextmanager
    async def _write(self, ids: list[PointId], grows: bool) -> Any:
        async with self._writing:
            self._check_exists()
            if grows:
                check_space(self.folder, self._reserve)
            async with self._noted(ids) as shard:
                yield shard

    @contextlib.asynccontextmanager
    async def _noted(self, ids: list[PointId]) -> Any:
        """The live shard, with the ids noted for catching up even if the write ends in an error."""
        self.changed += len(ids)
        self.unflushed = True
        if self._touched is not None:
            self._touched.update(ids)
        yield self._generation.shard
        self.operations += 1

    async def flush(self) -> None:
        """Make everything safe against loss of power too, and let Qdrant Edge shorten its log.

        Files are synced from here first: that lets other threads run, Edge's own flush does not.
        """
        if not self.unflushed:
            return
        await in_thread(sync_files, self._generation.path)
        async with self._writing:
            if not self._dropped:
                await in_thread(self._generation.shard.flush)
                self.unflushed = False

    async def copy_to(self, folder: Path) -> dict[str, Any]:
        """A copy of the shard's files in `folder`, all that is acknowledged in it; the meta.json that fits it."""
        await self.flush()
        async with self._writing:
            self._check_exists()
            live = self._generation
            await in_thread(live.shard.flush)
            await in_thread(check_space, self.folder, self._reserve + await in_thread(disk_size, live.path))
            await in_thread(shutil.copytree, live.path, folder)
            return {"name": self.name, "config": self.config, "indexes": dict(self.indexes)}

    @property
    def building(self) -> bool:
        return self._building.locked()

    async def build_index(self) -> None:
        """See the module's docstring. On any error the live shard stays as it is, and `build_error` says why."""
        async with self._building:
            copy = self.folder / _new_name()
            try:
                changed_before = await self._start_copy(copy)
                if await hnsw_build.build(copy, self.config):
                    await self._adopt(copy)
                self.changed = max(0, self.changed - changed_before)
                self.build_error = None
            except Exception as error:
                self.build_error = str(error)
                raise
            finally:
                self._touched = None
                if copy != self._generation.path:
                    await in_thread(remove_generation, copy, f"an index build of {self.name} that was not taken")

    async def _start_copy(self, copy: Path) -> int:
        await self.flush()  # the long part of it outside the lock below
        async with self._writing:
            self._check_exists()
            live = self._generation
            await in_thread(live.shard.flush)
            needed = self._reserve + 2 * await in_thread(disk_size, live.path)
            await in_thread(check_space, self.folder, needed)
            self._touched = set()
            await in_thread(shutil.copytree, live.path, copy)
            return self.changed

    async def _adopt(self, copy: Path) -> None:
        new = Generation(copy, await in_thread(_load, copy, self.config))
        try:
            for _ in range(_CATCH_UP_ROUNDS):
                async with self._writing:
                    touched, self._touched = self._touched or set(), set()
                await self._catch_up(new.shard, touched)
                if len(touched) <= _CATCH_UP_BATCH:
                    break
            await in_thread(sync_files, new.path)
            async with self._writing:
                self._check_exists()
                await self._catch_up(new.shard, self._touched or set())
                await in_thread(self._same_indexes, new.shard)
                await in_thread(new.shard.flush)
                self._save(new)  # not awaited: no cancellation may come between the file and the field
                old, self._generation = self._generation, new
                self._count()
        except BaseException:
            await new.close()
            raise
        await old.close()
        await in_thread(remove_generation, old.path, f"collection {self.name} has a newer one with an index")

    async def _catch_up(self, new: edge.EdgeShard, touched: set[PointId]) -> None:
        ids = list(touched)
        for start in range(0, len(ids), _CATCH_UP_BATCH):
            part = ids[start : start + _CATCH_UP_BATCH]
            await in_thread(_copy_points, self._generation.shard, new, part)

    def _same_indexes(self, new: edge.EdgeShard) -> None:
        present = set(new.info().payload_schema)
        for field in present - set(self.indexes):
            new.update(edge.UpdateOperation.delete_field_index(field))
        for field in set(self.indexes) - present:
            new.update(edge.UpdateOperation.create_field_index(field, index_from_shown(self.indexes[field])))

    async def close(self) -> None:
        async with self._writing:
            self._dropped = True
            if self.unflushed:
                await in_thread(sync_files, self._generation.path)
            await self._generation.close()

    async def drop(self) -> None:
        """Delete the collection. It is gone once meta.json is, whatever happens then."""
        async with self._writing:
            self._check_exists()
            self._dropped = True
            (self.folder / META).unlink()
        await self._generation.close()
        await in_thread(remove, self.folder, f"collection {self.name} was deleted")

    def _count(self) -> int:
        info = self._generation.shard.info()
        self.indexed = info.indexed_vectors_count
        return info.points_count

    def _check_exists(self) -> None:
        if self._dropped:
            raise no_collection(self.name)

    def _save(self, generation: Generation) -> None:
        meta = {"name": self.name, "config": self.config, "indexes": self.indexes}
        if self._next is not None:
            meta["next"] = self._next
        replace_json(self.folder / META, meta | {"generation": generation.path.name})


def _new_name() -> str:
    return uuid.uuid4().hex[:16]


def _load(path: Path, config: dict[str, Any]) -> edge.EdgeShard:
    return edge.EdgeShard.load(str(path), edge_config(config))


def _load_either(path: Path, meta: dict[str, Any]) -> edge.EdgeShard:
    """With the settings before a change of vectors that was cut short, or with those after it: one fits the files."""
    try:
        return _load(path, meta["config"])
    except Exception:
        if "next" not in meta:
            raise
        return _load(path, meta["next"])


def _ids(shard: edge.EdgeShard, change: Change) -> list[PointId]:
    """The ids that the change is for. ApiError 404 if one has to be there and is not."""
    if not isinstance(change.selector, list):
        return _matching(shard, change.selector)
    if change.existing:
        found = {plain_id(record.id) for record in shard.retrieve([*change.selector], False, False)}
        for point_id in change.selector:
            if point_id not in found:
                raise no_point(point_id)
    return change.selector


def _matching(shard: edge.EdgeShard, condition: edge.Filter) -> list[PointId]:
    ids: list[PointId] = []
    offset = None
    while True:
        request = edge.ScrollRequest(
            offset=offset, limit=10_000, filter=condition, with_payload=False, with_vector=False
        )
        records, offset = shard.scroll(request)
        ids.extend(plain_id(record.id) for record in records)
        if offset is None:
            return ids


def _copy_points(live: edge.EdgeShard, new: edge.EdgeShard, ids: list[PointId]) -> None:
    """Give these points in `new` the state that they have in `live`."""
    found = live.retrieve([*ids], True, True)
    if found:
        points = [edge.Point(record.id, record.vector or {}, record.payload) for record in found]
        new.update(edge.UpdateOperation.upsert_points(points))
    absent = set(ids) - {plain_id(record.id) for record in found}
    if absent:
        new.update(edge.UpdateOperation.delete_points(list(absent)))
