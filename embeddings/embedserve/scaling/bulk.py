"""Many repositories into Qdrant with Ray Data: files -> chunks (CPU tasks) -> vectors (actors) -> points.

Each step of a single run of `embedserve index` is the same code here: the same plan, the same cutting, the same
points under the same ids, each file whole once its first chunk is stored. So a run that was stopped goes on where it
was, and a worker that dies costs its batch: Ray runs it again. The actors are in `vectors.py`.

What is not made: the lexical index, which belongs to the machine that searches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from embedserve.errors import IndexingFailed, MissingExtra, SetupError
from embedserve.indexing.chunk import chunk_text
from embedserve.indexing.decode import NotText
from embedserve.indexing.load import load, read_bytes
from embedserve.indexing.pipeline import groups_of
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.report import Report
from embedserve.indexing.store import Store
from embedserve.indexing.stored import FileRecord, Point
from embedserve.indexing.sync import Indexer, Planned
from embedserve.indexing.workspace import collection_name, workspace_path
from embedserve.scaling.vectors import Actor, model_of
from embedserve.scaling.work import POINTS_AT_ONCE, Bulk, Done, Work, rows_of, works_of

log = logging.getLogger(__name__)
FILES_AT_ONCE = 16  # in a batch of an actor: some hundred texts


@contextlib.contextmanager
def on_ray(address: str) -> Iterator[None]:
    """Ray while the block lasts: the cluster at `address`, or one that is started here (`local`, whatever RAY_ADDRESS
    says). Raises MissingExtra, SetupError."""
    try:
        import ray
    except ImportError:
        raise MissingExtra("indexing on Ray", "scale") from None
    try:
        ray.init(address=address, log_to_driver=False)
    except ConnectionError as error:
        raise SetupError(f"Ray at {address}: {error}") from None
    try:
        yield
    finally:
        ray.shutdown()


def index_repositories(paths: Sequence[str], bulk: Bulk, display: Display) -> list[Report]:
    """Make the index of each folder equal to the folder. Ray is running already (`on_ray`).

    Raises IndexingFailed, SetupError; what was stored until then is safe, and the next run goes on from it.
    """
    import ray

    model, dimension, window = ray.get(ray.remote(num_cpus=bulk.threads, num_gpus=bulk.gpus)(model_of).remote(bulk))
    reports, plans = asyncio.run(_planned(paths, bulk, model, dimension, window, display))
    works = [
        Work(workspace, file, planned.opened.recipe, planned.stored_paths is None or file.path in planned.stored_paths)
        for workspace, planned in plans.items()
        for file in planned.plan.changed
    ]
    began = time.monotonic()
    display.start("embedding", len(works), sum(work.file.size for work in works))
    for size, done in _stream(works, bulk):
        report = reports[done.workspace]
        report.files += done.chunks > 0
        report.chunks += done.chunks
        report.stored += done.chunks
        report.embedded += done.embedded
        report.reused += done.reused
        report.engine_seconds += done.seconds
        report.deleted += done.deleted
        report.warnings += [done.warning] if done.warning else []
        report.embed_seconds = report.seconds = time.monotonic() - began
        display.advance(1, size, "", done.chunks)
    asyncio.run(_finished(reports, plans, bulk, display))
    return list(reports.values())


async def _planned(
    paths: Sequence[str], bulk: Bulk, model: str, dimension: int, window: int, display: Display
) -> tuple[dict[str, Report], dict[str, Planned]]:
    reports: dict[str, Report] = {}
    plans: dict[str, Planned] = {}
    client = Qdrant(bulk.qdrant_url, bulk.qdrant_api_key)
    try:
        for path in paths:
            workspace = workspace_path(path)
            report = reports[workspace] = Report(workspace, bulk.collection or collection_name(workspace))
            indexer = Indexer(await bulk.store(client, workspace), _Known(model, dimension, window), display)  # type: ignore[arg-type]
            planned = await indexer.plan(report)
            if await indexer.begin(planned):
                plans[workspace] = planned
            else:
                report.complete = True
    finally:
        await client.close()
    return reports, plans


async def _finished(reports: dict[str, Report], plans: dict[str, Planned], bulk: Bulk, display: Display) -> None:
    client = Qdrant(bulk.qdrant_url, bulk.qdrant_api_key)
    try:
        for workspace, planned in plans.items():
            indexer = Indexer(await bulk.store(client, workspace), _Known("", 0, 0), display)  # type: ignore[arg-type]
            await indexer.finish(reports[workspace], planned)
            reports[workspace].complete = True
    finally:
        await client.close()


@dataclass
class _Known:
    """What an Indexer asks its embedder of the model; it embeds nothing here."""

    model: str
    dimension: int
    window: int


def _stream(works: list[Work], bulk: Bulk) -> Any:
    """(bytes of the file, Done) of each file as it is stored."""
    import ray

    if not works:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"work": pickle.dumps(work)} for work in works]
    data = (
        ray.data.from_items(rows, override_num_blocks=max(1, len(rows) // FILES_AT_ONCE))
        .map_batches(_cut, batch_size=FILES_AT_ONCE, num_cpus=0.1)
        .map_batches(
            type("_Vectors", (Actor,), {"bulk": bulk}),  # an argument in the object store can be lost with a node
            batch_size=FILES_AT_ONCE,
            num_cpus=bulk.threads,
            num_gpus=bulk.gpus,
            compute=ray.data.ActorPoolStrategy(size=bulk.actors),
        )
        .map_batches(functools.partial(_store, bulk=bulk), batch_size=FILES_AT_ONCE, num_cpus=0.1)
    )
    for row in data.iter_rows():
        yield int(row["size"]), pickle.loads(row["done"])


def _cut(batch: dict[str, Any]) -> dict[str, Any]:
    works = works_of(batch)
    for work in works:
        file = work.file
        try:
            loaded = load(read_bytes(work.workspace, file.relative), file.relative, file.language, work.recipe.key)
            cut = chunk_text(file.path, loaded.text, loaded.language, work.recipe.max_tokens, loaded.generated)
        except (FileNotFoundError, NotText):
            continue  # changed since it was looked at; the next run sees it
        except Exception as error:  # whatever is wrong with one file, the others are indexed
            work.warning = f"{file.path}: {type(error).__name__}: {error}; kept as it was indexed"
            continue
        work.digest, work.chunks = loaded.digest, cut.chunks
        work.warning = f"{file.path}: {cut.fallback}; cut along its paragraphs" if cut.fallback else ""
    return rows_of(works)


def _store(batch: dict[str, Any], bulk: Bulk) -> dict[str, Any]:
    works = works_of(batch)
    done = np.empty(len(works), dtype=object)
    done[:] = [pickle.dumps(one) for one in asyncio.run(_stored(works, bulk))]
    return {"done": done, "size": np.array([work.file.size for work in works])}


async def _stored(works: list[Work], bulk: Bulk) -> list[Done]:
    """Write each file's chunks, the first with the file's record last; then delete what is of an older version."""
    client = Qdrant(bulk.qdrant_url, bulk.qdrant_api_key)
    try:
        return [await _store_one(await bulk.store(client, work.workspace), work) for work in works]
    finally:
        await client.close()


async def _store_one(store: Store, work: Work) -> Done:
    before = set((await store.stored([work.file.path]))[work.file.path].points) if work.known else set()
    if not work.chunks:
        stale = [] if work.warning else sorted(before)
        await store.delete(stale)
        return Done(work.workspace, 0, 0, 0, 0.0, len(stale), work.warning)
    if not np.isfinite(work.vectors).all():
        raise IndexingFailed(f"{work.file.path}: the model gives vectors with NaN")
    points = [Point(chunk, vector.tolist()) for chunk, vector in zip(work.chunks, work.vectors, strict=True)]
    points[0].record = FileRecord(work.digest, len(points))
    for group in groups_of(points[1:], POINTS_AT_ONCE):
        await store.upsert(group)
    await store.upsert(points[:1])
    stale = sorted(before - {chunk.id for chunk in work.chunks})
    await store.delete(stale)
    made = (work.embedded, work.reused, work.seconds)
    return Done(work.workspace, len(points), *made, len(stale), work.warning)
