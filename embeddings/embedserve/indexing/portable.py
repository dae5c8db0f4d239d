"""Exports an index, and indexes a folder with the vectors of an export: only what is not in it is embedded.

What the export holds and for whom is `sealed.py`'s. The lexical index is not in it: its words are the text itself, and
it is made again from the files in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embedserve import __version__
from embedserve.errors import IndexingFailed
from embedserve.indexing.daemon import in_daemon_thread
from embedserve.indexing.embedder import Embedder, Vectors
from embedserve.indexing.load import file_digest, read_bytes
from embedserve.indexing.sealed import Header, Row, SealedIndex, new_salt, write_sealed
from embedserve.indexing.search import indexed
from embedserve.indexing.store import Store
from embedserve.indexing.stored import FileRecord, Recipe
from embedserve.indexing.walk import walk
from embedserve.indexing.workspace import shown_path

FILES_AT_ONCE = 50
SAMPLE = 8  # texts that are embedded here too, to see that the vectors are of this model
AGREE = 0.95  # least mean cosine of the sample: an int8 copy of a model stays above it, another model does not


@dataclass
class Exported:
    """`left_out`: indexed files that are not on disk as they were indexed, so have no content to seal them with."""

    files: int = 0
    chunks: int = 0
    left_out: int = 0


async def export(store: Store, path: str) -> Exported:
    """Write the store's index to a file. Raises IndexingFailed; needs no embedding service."""
    status = await indexed(store)
    recipe = status.recipe
    if recipe is None:
        raise IndexingFailed(f"{store.collection} does not say how it was made; make it anew: embedserve index")
    records = {name: record for name, record in (await store.records()).items() if record is not None}
    contents = await in_daemon_thread(lambda: dict(_unchanged(store.workspace, records, recipe)))
    done = Exported(left_out=len(records) - len(contents))
    header = Header(
        recipe.model, recipe.dimension, recipe.max_tokens, recipe.chunker, recipe.text_form, new_salt(), __version__
    )
    loop = asyncio.get_running_loop()

    def files() -> Iterator[tuple[bytes, list[str], Vectors]]:  # in the writer's thread
        names = sorted(contents)
        for start in range(0, len(names), FILES_AT_ONCE):
            some = names[start : start + FILES_AT_ONCE]
            fetched = asyncio.run_coroutine_threadsafe(store.vectors_of(some), loop).result()
            for name in some:
                rows = fetched.get(name, {})
                if rows:
                    data = read_bytes(store.workspace, contents[name])
                    yield data, list(rows), np.asarray(list(rows.values()), dtype=np.float32)

    try:
        done.files, done.chunks = await asyncio.to_thread(write_sealed, path, header, files())
    except OSError as error:
        raise IndexingFailed(f"{path} cannot be written: {error.strerror or error}") from None
    return done


def _unchanged(workspace: str, records: dict[str, FileRecord], recipe: Recipe) -> Iterator[tuple[str, str]]:
    """(stored path, path on disk) of the files that are on disk as they were indexed."""
    for found in walk(workspace).files:
        path = shown_path(found.relative)
        record = records.get(path)
        try:
            if record and file_digest(read_bytes(workspace, found.relative), recipe.key) == record.digest:
                yield path, found.relative
        except OSError:
            continue


class ReusingEmbedder(Embedder):
    """An embedder that takes from an export what is in it. `reused`: how many texts."""

    def __init__(self, service: Embedder, sealed: SealedIndex) -> None:
        super().__init__(service.url, service.api_key, service.model, service.waiting, service.patience)
        self.sealed = sealed
        self.reused = 0
        self._rows: dict[str, Row] = {}
        self._check_lock = asyncio.Lock()
        self._checked = False

    async def probe(self) -> None:
        await super().probe()
        header = self.sealed.header
        if (header.model, header.dimension) != (self.model, self.dimension):
            raise IndexingFailed(
                f"{self.sealed.path} has vectors of {header.model} with {header.dimension} dimensions, and the service "
                f"serves {self.model} with {self.dimension}; nothing was imported. Serve {header.model}"
            )

    def look_up(self, workspace: str) -> int:
        """Find the rows of all files of the folder; gives how many files are in the export. Run it in a thread."""
        files = 0
        for found in walk(workspace).files:
            try:
                rows = self.sealed.rows_of(read_bytes(workspace, found.relative))
            except OSError:
                continue
            files += bool(rows)
            self._rows.update((row.digest, row) for row in rows)
        return files

    async def embed(self, texts: Sequence[str]) -> Vectors:
        from embedserve.indexing.chunk import digest

        rows = [self._rows.get(digest(text)) for text in texts]
        if known := [(text, row) for text, row in zip(texts, rows, strict=True) if row is not None]:
            async with self._check_lock:  # nothing is reused, by whichever worker, before the check has passed
                if not self._checked:
                    await self._check(known[:SAMPLE])
                    self._checked = True
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        made = iter(await super().embed(missing) if missing else ())
        self.reused += len(texts) - len(missing)
        return np.stack([next(made) if row is None else self.sealed.vector(row) for row in rows])

    async def _check(self, known: Sequence[tuple[str, Row]]) -> None:
        """Embeds a few texts here and compares. Raises IndexingFailed."""
        here = await super().embed([text for text, _ in known])
        there = np.stack([self.sealed.vector(row) for _, row in known])
        agreement = float(np.mean(np.sum(here * there, axis=1)))
        if not agreement >= AGREE:
            raise IndexingFailed(
                f"{self.sealed.path} does not fit: its vectors agree with those of the model {self.model} here by "
                f"{agreement:.2f} only (mean cosine of {len(known)} texts); it was made with other weights of that name"
            )
