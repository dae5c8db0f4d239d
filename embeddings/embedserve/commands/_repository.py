"""What a folder is called among the repositories of a shared collection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedserve.indexing.connection import Connection
    from embedserve.indexing.store import Store


def named(where: Connection, workspace: str) -> Connection:
    """`where` for this folder: with the name that it has in the collection, where there is one."""
    if not where.collection or where.repositories:
        return where
    from embedserve.indexing.repository import repository_name

    return replace(where, repositories=(repository_name(workspace),))


async def check_named(where: Connection, store: Store, given: Sequence[str]) -> None:
    """Another folder's index must not be replaced unasked: a name that was not `given` and is no git remote's belongs
    to the folder that had it first. Raises IndexingFailed."""
    from embedserve.indexing.repository import check_owner
    from embedserve.indexing.shared import SharedStore

    if isinstance(store, SharedStore):
        await store.open()
        if not given:
            await check_owner(store)
