"""Moves a folder's own index into a shared collection, of this Qdrant or of another: a laptop's into the cluster.

Points go as they are, vectors too: nothing is embedded and the folder need not be there. Snapshots cannot do that: one
of the embedded Qdrant is one shard with one index, and the collection of a cluster has other shards, other indexes in
it and other ids. Stopping anywhere leaves the repository marked as incomplete; the next copy or `index` goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from embedserve.errors import IndexingFailed
from embedserve.indexing.search import indexed
from embedserve.indexing.shared import SharedStore
from embedserve.indexing.store import Store

POINTS_AT_ONCE = 200


async def copy_index(source: Store, target: SharedStore, progress: Callable[[int], None] = lambda _: None) -> int:
    """Make the repository in the collection equal to the folder's index; gives how many chunks there are. Raises
    IndexingFailed."""
    status = await indexed(source)
    if not status.complete or status.recipe is None:
        raise IndexingFailed(f"the index of {source.workspace} is not complete; finish it first with: embedserve index")
    await target.prepare(status.recipe)
    await target.mark(False, status.recipe, status.files, status.chunks)
    stale = await target.ids()
    copied = 0
    async for points in source.pages(POINTS_AT_ONCE):
        await target.put(points)
        stale.difference_update(str(point["id"]) for point in points)
        copied += len(points)
        progress(len(points))
    await target.delete(stale)
    await target.mark(True, status.recipe, status.files, status.chunks)
    return copied
