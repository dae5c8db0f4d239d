"""The storage folder: one process at a time, the collections in it, and the housekeeping in the background.

    <storage>/.embedserve-qdrant    our mark (see `marks`): a folder without it is not touched
    <storage>/.lock                 held with flock by the process that serves it
    <storage>/collections/<id>/     one folder a collection, named by chance, since names may hold any character

A folder with our mark and without meta.json is a collection that was being made or deleted, and is cleared away. One
without our mark is left alone. A collection that cannot be opened does not stop the others: it answers 500 with the
reason.

When an index is built: unindexed vectors of `indexing_threshold` and no write for ten seconds, since building takes
all cores and a scan by a client lasts minutes; or eight times that much and half of what is indexed, whatever is
going on, so that the cost of all builds stays in proportion to the data.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

import orjson

from embedserve.errors import SetupError
from embedserve.vectordb.aliases import Aliases
from embedserve.vectordb.collection import Collection
from embedserve.vectordb.errors import ApiError, already_exists, no_collection
from embedserve.vectordb.marks import META, claim_storage, clear_leftovers, is_ours, mark, remove
from embedserve.vectordb.threads import in_thread

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
QUIET_SECONDS = 10.0
RETRY_SECONDS = 300.0
RESERVE = 256 << 20


class Storage:
    """`reserve`: bytes of disk that are kept free; `quiet`: seconds without writes before an index is built."""

    def __init__(self, folder: Path, reserve: int = RESERVE, quiet: float = QUIET_SECONDS) -> None:
        self.folder = folder
        self._reserve = reserve
        self._quiet = quiet
        self._collections: dict[str, Collection] = {}
        self._broken: dict[str, tuple[Path, str]] = {}
        self._builds: dict[str, asyncio.Task[None]] = {}
        self._retry_at: dict[str, float] = {}
        self._making = asyncio.Lock()
        self._housekeeper: asyncio.Task[None] | None = None
        self._lock = _lock(folder)
        self.aliases = Aliases(folder / "aliases.json")
        self.snapshots = folder / "snapshots"

    async def open(self) -> None:
        """Open every collection and start the housekeeping."""
        self._root.mkdir(exist_ok=True)
        await in_thread(self.aliases.load)
        await in_thread(clear_leftovers, self.folder, self.snapshots)
        for folder in sorted(self._root.iterdir(), key=_settled):
            if not is_ours(folder):
                log.warning("left alone, since it does not carry our mark: %s", folder)
            elif (folder / META).exists():
                before = await in_thread(self._open_one, folder)
                if before is not None:  # the process was killed between the two steps of a replacement
                    log.warning("collection %s has two folders: the later one counts", before.name)
                    await before.drop()
            else:
                await in_thread(remove, folder, "a collection that was being made or deleted")
        self._housekeeper = asyncio.create_task(self._keep_house())

    def _open_one(self, folder: Path) -> Collection | None:
        """Gives an earlier collection of the same name, whose place this one has taken."""
        name = folder.name
        try:
            meta = orjson.loads((folder / META).read_bytes())
            name = meta["name"]
            opened = Collection.open(folder, meta, self._reserve)
            before, self._collections[name] = self._collections.get(name), opened
            return before
        except Exception as error:
            why = f"its files in {folder} cannot be opened ({error}); delete it and index again"
            self._broken[name] = folder, why
            log.error("collection %s: %s", name, why)
        return None

    async def close(self) -> None:
        """Stop building, flush and close everything, give the lock back."""
        tasks = [task for task in (self._housekeeper, *self._builds.values()) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(collection.close() for collection in self._collections.values()))
        os.close(self._lock)

    def names(self) -> list[str]:
        return sorted({*self._collections, *self._broken})

    def exists(self, name: str) -> bool:
        return self.aliases.resolve(name) in self.names()

    def get(self, name: str) -> Collection:
        """By name or alias. ApiError 404 if there is none, 500 if it cannot be opened."""
        name = self.aliases.resolve(name)
        if name in self._collections:
            return self._collections[name]
        if name in self._broken:
            raise ApiError(500, f"Service internal error: collection `{name}`: {self._broken[name][1]}")
        raise no_collection(name)

    async def create(self, name: str, config: dict[str, Any]) -> None:
        async with self._making:
            if self.exists(name):
                raise already_exists(name)
            folder = self._root / uuid.uuid4().hex
            self._collections[name] = await in_thread(Collection.create, folder, name, config, self._reserve)

    async def delete(self, name: str) -> bool:
        """False if there was none."""
        async with self._making:
            if name in self._broken:
                folder, _ = self._broken.pop(name)
                await in_thread(remove, folder, f"the broken collection {name} was deleted")
                return True
            collection = self._collections.pop(name, None)
            if collection is None:
                return False
            await self.stop_build(name)
            await collection.drop()
            await self.aliases.forget(name)
            return True

    async def adopt(self, name: str, folder: Path) -> None:
        """Put the collection in a folder of ours in the place of the one of this name, if there is one. The folder
        has its meta.json and is beside the others."""
        async with self._making:
            new = await in_thread(Collection.open, folder, orjson.loads((folder / META).read_bytes()), self._reserve)
            old = self._collections.pop(name, None)
            await self.stop_build(name)
            broken = self._broken.pop(name, None)
            self._collections[name] = new
            if old is not None:
                await old.drop()
            if broken is not None:
                await in_thread(remove, broken[0], f"the broken collection {name} was replaced")

    async def stop_build(self, name: str) -> None:
        """End an index build of the collection, if there is one; it begins again when it is due."""
        build = self._builds.pop(self.aliases.resolve(name), None)
        if build:
            build.cancel()
            await asyncio.gather(build, return_exceptions=True)

    def new_folder(self) -> Path:
        """A folder of ours for a collection that is not there yet. Blocking."""
        folder = self._root / uuid.uuid4().hex
        folder.mkdir()
        mark(folder)
        return folder

    @property
    def reserve(self) -> int:
        return self._reserve

    @property
    def _root(self) -> Path:
        return self.folder / "collections"

    async def _keep_house(self) -> None:
        """Every second: flush what needs it, start a build where one is due. One build at a time."""
        flushed = time.monotonic()
        seen: dict[str, tuple[int, float]] = {}
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for name, collection in list(self._collections.items()):
                if seen.get(name, (-1, 0.0))[0] != collection.operations:
                    seen[name] = collection.operations, now
                quiet = now - seen[name][1] >= self._quiet
                if not self._builds and now >= self._retry_at.get(name, 0) and _due(collection, quiet):
                    self._builds[name] = asyncio.create_task(self._build(name, collection))
            if now - flushed >= FLUSH_SECONDS:
                flushed = now
                for collection in list(self._collections.values()):
                    await _survive(collection.flush(), f"collection {collection.name}: flush")

    async def _build(self, name: str, collection: Collection) -> None:
        log.info("collection %s: building the index of %d changed points", name, collection.changed)
        started = time.monotonic()
        try:
            await _survive(collection.build_index(), f"collection {name}: the index was not built")
        finally:
            self._builds.pop(name, None)
        if collection.build_error:
            self._retry_at[name] = time.monotonic() + RETRY_SECONDS
        else:
            log.info("collection %s: index built in %.1f s", name, time.monotonic() - started)


async def _survive(work: Any, what: str) -> None:
    try:
        await work
    except Exception as error:
        log.error("%s: %s", what, error)


def _settled(folder: Path) -> int:
    """When its meta.json was written: of two folders of one name the later one counts."""
    try:
        return (folder / META).stat().st_mtime_ns
    except OSError:
        return 0


def _due(collection: Collection, quiet: bool) -> bool:
    threshold = collection.config["optimizer_config"]["indexing_threshold"] * 1024
    if threshold == 0 or collection.config["hnsw_config"]["m"] == 0:  # Qdrant's ways to say: never
        return False
    row = 4 * max(sum(collection.space.sizes.values()), 64)  # a sparse vector is about 64 numbers
    if quiet:
        return bool(collection.changed * row >= threshold)
    return bool(collection.changed * row >= max(8 * threshold, collection.indexed * row // 2))


def _lock(folder: Path) -> int:
    """The descriptor that holds the storage's lock, or SetupError that names the process that has it."""
    import fcntl

    claim_storage(folder)
    try:
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"cannot use the storage {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupError(
            f"the storage {folder} is in use by another embedded Qdrant (process {holder}); "
            "stop it, or give another --storage"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor
